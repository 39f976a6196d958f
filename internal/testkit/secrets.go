package testkit

import (
	"reflect"
	"testing"

	"github.com/backstay/backstay"
)

// PlantSecrets puts the text into every backstay.Secret that a value of this type can hold, the value that p points to,
// and makes what is needed to have them all: pointers, and an element of every slice and map.
func PlantSecrets(t testing.TB, p any, text string) {
	t.Helper()
	if plant(reflect.ValueOf(p).Elem(), text) == 0 {
		t.Fatalf("%T has no secret", p)
	}
}

func plant(v reflect.Value, text string) (count int) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[backstay.Secret]() {
			v.SetString(text)
			return 1
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				count += plant(v.Field(i), text)
			}
		}
	case reflect.Pointer:
		return plantInto(v.Type().Elem(), text, func(made reflect.Value) { v.Set(made.Addr()) })
	case reflect.Slice:
		return plantInto(v.Type().Elem(), text, func(made reflect.Value) { v.Set(reflect.Append(v, made)) })
	case reflect.Map:
		return plantInto(v.Type().Elem(), text, func(made reflect.Value) {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.Zero(v.Type().Key()), made)
		})
	}
	return count
}

// plantInto makes a value of the type and, where that can hold a secret, has it kept.
func plantInto(of reflect.Type, text string, keep func(reflect.Value)) int {
	made := reflect.New(of).Elem()
	count := plant(made, text)
	if count > 0 {
		keep(made)
	}
	return count
}

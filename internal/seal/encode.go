package seal

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/backstay/backstay"
)

// sealedPrefix is what a sealed secret begins with, where others are in clear. No key and no certificate does.
const sealedPrefix = "sealed:"

// Encode is the JSON of v, a pointer, in which every backstay.Secret is sealed for the context, however deep in
// structs, pointers, slices and maps it lies: all else can be read. With the zero Key, secrets stay in clear. v is not
// changed.
func (k Key) Encode(v any, context string) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil || k == (Key{}) {
		return text, err
	}
	sealed := reflect.New(reflect.TypeOf(v).Elem())
	if err := json.Unmarshal(text, sealed.Interface()); err != nil {
		return nil, fmt.Errorf("copy what is to be sealed: %w", err)
	}
	err = eachSecret(sealed, func(s backstay.Secret) (backstay.Secret, error) {
		box := k.Seal([]byte(s.Reveal()), context)
		return backstay.Secret(sealedPrefix + base64.StdEncoding.EncodeToString(box)), nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed.Interface())
}

// Found is what Decode has met: how many secrets were in clear, and how many are sealed still.
type Found struct{ Clear, Sealed int }

// Decode is the inverse of Encode, and also reads secrets in clear. With the zero Key, what is sealed stays that.
func (k Key) Decode(text []byte, v any, context string) (found Found, err error) {
	if err := json.Unmarshal(text, v); err != nil {
		return found, err
	}
	err = eachSecret(reflect.ValueOf(v), func(s backstay.Secret) (backstay.Secret, error) {
		box, isSealed := strings.CutPrefix(s.Reveal(), sealedPrefix)
		switch {
		case !isSealed:
			found.Clear++
			return s, nil
		case k == (Key{}):
			found.Sealed++
			return s, nil
		}
		sealed, err := base64.StdEncoding.DecodeString(box)
		if err != nil {
			return "", fmt.Errorf("a sealed secret is damaged: %w", err)
		}
		plain, err := k.Open(sealed, context)
		return backstay.Secret(plain), err
	})
	return found, err
}

// eachSecret changes every secret of a value that is not empty.
func eachSecret(v reflect.Value, change func(backstay.Secret) (backstay.Secret, error)) error {
	if v.Type() == reflect.TypeFor[backstay.Secret]() {
		return changeSecret(v, change)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return eachSecret(v.Elem(), change)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				if err := eachSecret(v.Field(i), change); err != nil {
					return err
				}
			}
		}
	case reflect.Slice, reflect.Array:
		return eachOf(v, change)
	case reflect.Map:
		return eachValue(v, change)
	}
	return nil
}

func changeSecret(v reflect.Value, change func(backstay.Secret) (backstay.Secret, error)) error {
	if v.Len() == 0 {
		return nil
	}
	changed, err := change(backstay.Secret(v.String()))
	if err == nil {
		v.SetString(string(changed))
	}
	return err
}

func eachOf(v reflect.Value, change func(backstay.Secret) (backstay.Secret, error)) error {
	if v.Type().Elem().Kind() == reflect.Uint8 { // bytes hold none
		return nil
	}
	for i := range v.Len() {
		if err := eachSecret(v.Index(i), change); err != nil {
			return err
		}
	}
	return nil
}

// eachValue puts copies of a map's values in their place, for they cannot be changed where they are.
func eachValue(v reflect.Value, change func(backstay.Secret) (backstay.Secret, error)) error {
	for _, key := range v.MapKeys() {
		value := reflect.New(v.Type().Elem()).Elem()
		value.Set(v.MapIndex(key))
		if err := eachSecret(value, change); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

package strict

import (
	"encoding/json"
	"reflect"
)

// wanted names in JSON's words what a field of our type takes.
func wanted(mistyped *json.UnmarshalTypeError) string {
	switch mistyped.Type.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a number"
	}
}

package cfapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/strict"
)

// decode reads the request's body into a struct of pointers and values, strictly: what is no JSON
// object is a parse error, an unknown field or one of another type is unprocessable.
func decode(r *request, into any) error {
	raw, err := io.ReadAll(r.Body)
	r.body = raw
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errParse("the body is larger than %s", backstay.Bytes(tooLarge.Limit))
	}
	if err != nil {
		return errParse("the body did not arrive: %s", err)
	}
	if err := checkText(raw); err != nil {
		return err
	}
	return explain(strict.Unmarshal(raw, into))
}

// checkText refuses what is not exactly one JSON value, and strings that cannot be stored as text.
func checkText(raw []byte) error {
	if !utf8.Valid(raw) {
		return errParse("the body is not UTF-8")
	}
	if !json.Valid(raw) {
		var v any
		return errParse("%s", json.Unmarshal(raw, &v))
	}
	if !bytes.Contains(raw, []byte(`\u0000`)) {
		return nil
	}
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		switch token, err := d.Token(); text := token.(type) {
		case string:
			if strings.ContainsRune(text, 0) {
				return backstay.Errorf(backstay.Invalid, "A text must not contain the character NUL")
			}
		case nil:
			if err != nil {
				return nil // the end: it is known to be valid
			}
		}
	}
}

// explain says what the decoder disliked as Cloud Foundry would.
func explain(err error) error {
	var mistyped *json.UnmarshalTypeError
	var said *backstay.Error
	switch {
	case err == nil, errors.As(err, &said):
		return err
	case errors.As(err, &mistyped) && mistyped.Field == "":
		return errParse("the body must be a JSON object")
	case errors.As(err, &mistyped):
		return backstay.Errorf(backstay.Invalid, "%s must be %s", capital(mistyped.Field), noun(mistyped.Type))
	}
	// The decoder has no type for this error.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return backstay.Errorf(backstay.Invalid, "Unknown field(s): '%s'", strings.Trim(field, `"`))
	}
	return errParse("%s", err)
}

func capital(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

func noun(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}

// toOne is a relationship to one resource, in requests and in answers.
type toOne struct {
	Data *reference `json:"data"`
}

type reference struct {
	GUID string `json:"guid"`
}

func related[ID ~string](id ID) toOne {
	if id == "" {
		return toOne{}
	}
	return toOne{&reference{string(id)}}
}

// required is the guid of a relationship that a request cannot do without.
func required[ID ~string](to toOne, name string) (ID, error) {
	if to.Data == nil || to.Data.GUID == "" {
		return "", backstay.Errorf(backstay.Invalid,
			`Relationships '%s' must be structured like this: "%s": {"data": {"guid": "valid-guid"}}`, name, name)
	}
	return ID(to.Data.GUID), nil
}

// object is a JSON object that is passed on as it is; nil if it was not given.
type object []byte

func (o *object) UnmarshalJSON(raw []byte) error {
	switch raw = bytes.TrimSpace(raw); {
	case bytes.Equal(raw, []byte("null")):
		*o = nil
	case raw[0] != '{':
		return backstay.Errorf(backstay.Invalid, "Parameters must be an object")
	default:
		*o = bytes.Clone(raw)
	}
	return nil
}

// tags are nil if they were not given.
type tags []string

func (t *tags) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, (*[]string)(t)) != nil {
		return backstay.Errorf(backstay.Invalid, "Tags must be a list of strings")
	}
	return nil
}

// variables are changes of an environment: nil unsets.
type variables map[string]*string

func (v *variables) UnmarshalJSON(raw []byte) error {
	var values map[string]any
	if json.Unmarshal(raw, &values) != nil {
		return backstay.Errorf(backstay.Invalid, "Var must be an object")
	}
	*v = variables{}
	for name, value := range values {
		switch value := value.(type) {
		case nil:
			(*v)[name] = nil
		case string:
			(*v)[name] = &value
		default:
			return backstay.Errorf(backstay.Invalid, "Non-string value in environment variable for key '%s'", name)
		}
	}
	return nil
}

// Package strict decodes JSON that must say exactly what we understand: one value, and no field that
// we do not know, since that would be a wish ignored. How a mistake is told to a person stays with the
// door or the engine that asked; [Mistake] is the part of it that does not differ.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errMore is that of a text that goes on after its first value.
var errMore = errors.New("more than one JSON value")

// Decode reads one JSON value from r, to r's end. It fails for a field that the type of into does not
// have, and for anything but white space behind the value.
func Decode(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errMore
	}
	return nil
}

// Unmarshal is Decode for a text that is there already.
func Unmarshal(text []byte, into any) error { return Decode(bytes.NewReader(text), into) }

// Mistake says what Decode found wrong, for the end of a sentence, without naming a type of ours:
// `unknown field "colour"`, "port must be a number, not string".
func Mistake(err error) string {
	var mistyped *json.UnmarshalTypeError
	if !errors.As(err, &mistyped) {
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	subject := mistyped.Field
	if subject == "" {
		subject = "it"
	}
	return fmt.Sprintf("%s must be %s, not %s", subject, wanted(mistyped), mistyped.Value)
}

package mysql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// checkSettings is Invalid for anything but an empty object: the guide names nothing to tune.
func checkSettings(n engine.Node) error {
	if len(n.Settings) == 0 {
		return nil
	}
	var none struct{}
	d := json.NewDecoder(bytes.NewReader(n.Settings))
	d.DisallowUnknownFields()
	err := d.Decode(&none)
	if err == nil && !errors.Is(d.Decode(new(any)), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The settings are not what MySQL takes: %s.", mistake(err))
	}
	return nil
}

// mistake says what a decoder found wrong, without naming our types.
func mistake(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("they must be an object, not %s", kind.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

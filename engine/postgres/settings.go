package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Extensions are those that may be asked for, and that a binding may create by itself. All others
// are refused, trusted or not.
func Extensions() []string { return []string{"postgis", "uuid-ossp"} }

// settings are what users may tune of a node.
type settings struct {
	EnableExtensions []string `json:"enable_extensions"`
}

// parseSettings is Invalid for anything it does not know. The extensions come sorted, each once.
func parseSettings(n engine.Node) (settings, error) {
	var s settings
	if len(n.Settings) == 0 {
		return s, nil
	}
	d := json.NewDecoder(bytes.NewReader(n.Settings))
	d.DisallowUnknownFields()
	err := d.Decode(&s)
	if err == nil && !errors.Is(d.Decode(new(any)), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return s, backstay.Wrapf(err, backstay.Invalid, "The settings are not what PostgreSQL takes: %s.", mistake(err))
	}
	for _, name := range s.EnableExtensions {
		if !slices.Contains(Extensions(), name) {
			return s, backstay.Errorf(backstay.Invalid, "%s is not supported", name)
		}
	}
	slices.Sort(s.EnableExtensions)
	s.EnableExtensions = slices.Compact(s.EnableExtensions)
	return s, nil
}

// mistake says what a decoder found wrong, without naming our types.
func mistake(err error) string {
	var kind *json.UnmarshalTypeError
	if !errors.As(err, &kind) {
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	if kind.Field == "" {
		return fmt.Sprintf("they must be an object, not %s", kind.Value)
	}
	return fmt.Sprintf("%s must be a list of names, not %s", kind.Field, kind.Value)
}

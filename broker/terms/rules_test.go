package terms_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/terms"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	c, err := broker.ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	rules, binding := c.Offerings[0].Parameters.Create, c.Offerings[0].Parameters.Bind
	for _, tc := range []struct {
		name  string
		rules terms.Rules
		given string
		want  string // the sentence; empty if it is fine
	}{
		{"none", rules, ``, ""},
		{"empty", rules, `{}`, ""},
		{"one", rules, `{"enable_extensions": ["postgis"]}`, ""},
		{"unknown key", rules, `{"extension": []}`, "Unknown parameter: extension. Supported are: collation, enable_extensions."},
		{"wrong type", rules, `{"enable_extensions": "postgis"}`,
			"Parameter enable_extensions is of the wrong type: it is string and must be array."},
		{"wrong value", rules, `{"enable_extensions": ["dblink"]}`,
			"Parameter enable_extensions.0: dblink is not supported. Supported are: btree_gin, btree_gist, "},
		{"collation", rules, `{"collation": "en_GB.UTF-8"}`, ""},
		{"collation that is none", rules, `{"collation": "english"}`,
			"Parameter collation: english is not supported. Supported are: C.UTF-8, bg-BG, "},
		{"setting that is not theirs", rules, `{"extensions": ["dblink"]}`, "Unknown parameter: extensions."},
		{"two mistakes", rules, `{"enable_extensions": [1], "x": 2}`, "Parameter enable_extensions.0"},
		{"array", rules, `[]`, "Parameter parameters is of the wrong type: it is array and must be object."},
		{"not JSON", rules, `{`, "Parameters must be a JSON object"},
		{"two values", rules, `{} {}`, "Parameters must be a JSON object"},
		{"read-only", binding, `{"read_only": true}`, ""},
		{"read-only as a word", binding, `{"read_only": "true"}`,
			"Parameter read_only is of the wrong type: it is string and must be boolean."},
		{"of an instance", binding, `{"enable_extensions": []}`,
			"Unknown parameter: enable_extensions. Supported are: read_only, replica."},
		{"no rules", nil, `{"a": 1}`, "Unknown parameter: a. No parameters are supported here."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var given json.RawMessage
			if tc.given != "" {
				given = json.RawMessage(tc.given)
			}
			err := tc.rules.Check(given)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	c, err := broker.ParseCatalog(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"enable_extensions": ["postgis"]}`)
	f.Add(`{"a": {"b": [1, null, "\u0000"]}}`)
	f.Fuzz(func(t *testing.T, given string) {
		err := c.Offerings[0].Parameters.Create.Check(json.RawMessage(given))
		if err != nil && backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%q: %v", given, err)
		}
	})
}

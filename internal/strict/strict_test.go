package strict_test

import (
	"encoding/json"
	"testing"

	"github.com/backstay/backstay/internal/strict"
)

type order struct {
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Tags  []string `json:"tags"`
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, mistake string }{
		{`{"name": "x", "count": 2, "tags": ["a"]} `, ""},
		{`{"name": "x", "colour": 1}`, `unknown field "colour"`},
		{`{"name": 1}`, "name must be a string, not number"},
		{`{"count": "1"}`, "count must be a number, not string"},
		{`{"tags": {}}`, "tags must be an array, not object"},
		{`[]`, "it must be an object, not array"},
		{`{} {}`, "more than one JSON value"},
		{`{}]`, "more than one JSON value"},
		{`{`, "unexpected EOF"},
		{``, "EOF"},
	} {
		var o order
		err := strict.Unmarshal([]byte(tc.text), &o)
		switch {
		case err == nil && tc.mistake != "":
			t.Errorf("%s is accepted; want %q", tc.text, tc.mistake)
		case err != nil && strict.Mistake(err) != tc.mistake:
			t.Errorf("%s: %q; want %q", tc.text, strict.Mistake(err), tc.mistake)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"name": "x", "count": 2, "tags": ["a"]}`))
	f.Add([]byte(`{} 1`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var o order
		if err := strict.Unmarshal(text, &o); err != nil {
			if strict.Mistake(err) == "" {
				t.Error("a mistake without a word")
			}
			return
		}
		if !json.Valid(text) {
			t.Errorf("%q is accepted and is no JSON", text)
		}
	})
}

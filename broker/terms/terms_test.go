package terms_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

func object(properties map[string]any) terms.Rules {
	return terms.Rules{"type": "object", "additionalProperties": false, "properties": properties}
}

var (
	small = terms.Plan{
		Engine: "postgres", Version: "15", Size: backstay.Size{Connections: 10},
		Create: object(map[string]any{"a": map[string]any{}, "reboot": map[string]any{}}),
	}
	changeable = terms.Plan{
		Engine: "postgres", Version: "15", Size: backstay.Size{Connections: 10},
		Create: small.Create, Update: object(map[string]any{"a": map[string]any{}, "b": map[string]any{}}), Changeable: true,
	}
	large = terms.Plan{
		Engine: "postgres", Version: "15", Size: backstay.Size{Connections: 99}, Update: changeable.Update, Changeable: true,
	}
	newer = terms.Plan{Engine: "postgres", Version: "16"}
)

// refused checks the kind and the words of a refusal; no words want none.
func refused(t *testing.T, err error, kind backstay.Kind, words string) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("refused: %v", err)
	case words != "" && (backstay.KindOf(err) != kind || !strings.Contains(backstay.SentenceOf(err), words)):
		t.Errorf("%v is %v; want %v with %q", err, backstay.KindOf(err), kind, words)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, given, words string }{
		{"nothing", ``, ""},
		{"the engine's", `{"a": 1}`, ""},
		{"unknown", `{"c": 1}`, "Unknown parameter: c. Supported are: a."},
		{"the platform's", `{"preferred_backup_window": "02:00-03:00"}`, "Unknown parameter: preferred_backup_window."},
		{"the platform's, though a catalog has it", `{"a": 1, "reboot": true}`,
			"Unknown parameter: reboot. Supported are: a."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var given json.RawMessage
			if tc.given != "" {
				given = json.RawMessage(tc.given)
			}
			agreed, err := small.New(given)
			refused(t, err, backstay.Invalid, tc.words)
			if err == nil && (string(agreed.Spec.Settings) != tc.given || string(agreed.Parameters) != tc.given ||
				agreed.Spec.Engine != "postgres" || agreed.Spec.Version != "15" || agreed.Spec.Size.Connections != 10) {
				t.Errorf("agreed on %+v", agreed)
			}
		})
	}
}

// What the plan says of the engine's settings goes over what users give, and what its rules have as a default stands for
// what they do not give. Neither is among what they have given.
func TestSettingsOfThePlan(t *testing.T) {
	t.Parallel()
	p := terms.Plan{
		Create: object(map[string]any{
			"a": map[string]any{"default": "usual"}, "b": map[string]any{}, "extensions": map[string]any{},
		}),
		Settings: map[string]any{"extensions": []string{"x", "y"}},
	}
	for given, want := range map[string]string{
		``:                                `{"a":"usual","extensions":["x","y"]}`,
		`{}`:                              `{"a":"usual","extensions":["x","y"]}`,
		`{"a":"other","b":1}`:             `{"a":"other","b":1,"extensions":["x","y"]}`,
		`{"b":2,"extensions":["dblink"]}`: `{"a":"usual","b":2,"extensions":["x","y"]}`,
	} {
		var parameters json.RawMessage
		if given != "" {
			parameters = json.RawMessage(given)
		}
		agreed, err := p.New(parameters)
		if err != nil || string(agreed.Spec.Settings) != want || string(agreed.Parameters) != given {
			t.Errorf("%s: settings %s, parameters %s, %v; want %s", given, agreed.Spec.Settings, agreed.Parameters, err, want)
		}
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		from     terms.Plan
		accepted string
		change   terms.Change
		kind     backstay.Kind
		words    string
		want     string // the parameters
		size     int    // in connections
	}{
		{name: "nothing", from: small, accepted: `{"a":1}`, want: `{"a":1}`, size: 10},
		{name: "plan that may not be left", from: small, change: terms.Change{Plan: &large},
			kind: backstay.Unsupported, words: "The service does not support changing plans."},
		{name: "plan of another version", from: changeable, change: terms.Change{Plan: &newer},
			kind: backstay.Unsupported, words: "The service does not support changing plans."},
		{name: "parameters that stay", from: small, change: terms.Change{Parameters: json.RawMessage(`{"a":1}`)},
			kind: backstay.Unsupported, words: "The service does not support changing parameters."},
		{name: "upgrade", from: changeable, change: terms.Change{Upgrade: true},
			kind: backstay.Unsupported, words: "The service does not support upgrades."},
		{name: "unknown parameter", from: changeable, change: terms.Change{Parameters: json.RawMessage(`{"c":1}`)},
			kind: backstay.Invalid, words: "Unknown parameter: c. Supported are: a, b."},
		{name: "plan", from: changeable, accepted: `{"a":1}`, change: terms.Change{Plan: &large}, want: `{"a":1}`, size: 99},
		{name: "parameters", from: changeable, accepted: `{"a":1,"z":3}`, size: 10,
			change: terms.Change{Parameters: json.RawMessage(`{"a":2,"b":1}`)}, want: `{"a":2,"b":1,"z":3}`},
		{name: "first parameters", from: changeable, size: 10,
			change: terms.Change{Parameters: json.RawMessage(`{"b":1}`)}, want: `{"b":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var accepted json.RawMessage
			if tc.accepted != "" {
				accepted = json.RawMessage(tc.accepted)
			}
			agreed, err := tc.from.Change(accepted, tc.change)
			refused(t, err, tc.kind, tc.words)
			if err == nil && (string(agreed.Parameters) != tc.want || string(agreed.Spec.Settings) != tc.want ||
				agreed.Spec.Size.Connections != tc.size) {
				t.Errorf("agreed on %+v; want parameters %s and %d connections", agreed, tc.want, tc.size)
			}
		})
	}
}

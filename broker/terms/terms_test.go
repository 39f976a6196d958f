package terms_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/window"
)

// described returns rules for parameters of these names.
func described(names ...string) terms.Rules {
	properties := map[string]any{}
	for _, name := range names {
		properties[name] = map[string]any{}
	}
	return terms.Rules{"type": "object", "additionalProperties": false, "properties": properties}
}

const tunable = `{"work_mem": {"type": "string", "pattern": "^[0-9]+(kB|MB|GB)$", "examples": ["16MB"],
	"x-minimum": "64KB", "x-maximum": "4GB", "x-memory-part": 8}, "jit": {"enum": ["on", "off"]}, "parallel": {"type": "integer", "maximum": 8}}`

var small = terms.Plan{
	Name: "S", Engine: "postgres", Version: "15", Builds: terms.Builds{"15": {"15.18"}},
	Size:   backstay.Size{Storage: 10 * backstay.GB, Memory: 2 * backstay.GB, Connections: 10},
	Create: described("a", "enable_things", "collation"), Update: described("a", "enable_things", "disable_things"),
	Tunable: json.RawMessage(tunable), Changeable: true, RestorePoints: backstay.AnySecond,
}

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

func raw(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, given, settings, words string }{
		{"nothing", ``, ``, ""},
		{"an empty object", `{}`, ``, ""},
		{"the engine's", `{"a": 1}`, `{"a":1}`, ""},
		{"unknown", `{"c": 1}`, ``, "Unknown parameter: c. Supported are: a, clone_of, collation, " +
			"enable_things, preferred_backup_window, preferred_maintenance_window, restore_from_latest_snapshot_before, " +
			"restore_from_latest_snapshot_of, restore_from_point_in_time_before, restore_from_point_in_time_of, settings, " +
			"skip_final_snapshot."},
		{"windows", `{"a": 1, "preferred_maintenance_window": "Tue:04:00-Tue:04:30"}`, `{"a":1}`, ""},
		{"a window that is none", `{"preferred_backup_window": "always"}`, ``, `"always" is not`},
		{"an empty window", `{"preferred_backup_window": ""}`, ``, `A backup window is written HH:MM-HH:MM`},
		{"no window", `{"preferred_backup_window": null}`, ``, `is of the wrong type: it is null and must be string`},
		{"windows that overlap", `{"preferred_backup_window": "04:10-05:00",
			"preferred_maintenance_window": "Tue:04:00-Tue:04:30"}`, ``, "overlaps the daily backup window"},
		{"what only an instance takes", `{"reboot": true}`, ``, "Unknown parameter: reboot."},
		{"what only an instance returns to", `{"restore_to_point_in_time": "2018-04-01 00:00:00"}`, ``,
			"Unknown parameter: restore_to_point_in_time."},
		{"no last backup where there are none", `{"skip_final_snapshot": true}`, ``, ""},
		{"settings", `{"settings": {"jit": "off"}}`, `{"settings":{"jit":"off"}}`, ""},
		{"a setting that is not there", `{"settings": {"fsync": "off"}}`, ``,
			"Unknown setting: fsync. Supported are: jit, parallel, work_mem."},
		{"a setting beyond its range", `{"settings": {"parallel": 9}}`, ``,
			"Parameter settings.parallel: 9 is too much; it takes 8 or less."},
		{"a size", `{"settings": {"work_mem": "256MB"}}`, `{"settings":{"work_mem":"256MB"}}`, ""},
		{"a size beyond the plan", `{"settings": {"work_mem": "257MB"}}`, ``,
			"Setting work_mem cannot be 257MB: in plan S it takes 64KB to 256MB."},
		{"a size that is too small", `{"settings": {"work_mem": "63kB"}}`, ``, "it takes 64KB to 256MB."},
		{"a size that is none", `{"settings": {"work_mem": "much"}}`, ``,
			`Parameter settings.work_mem: "much" is not written as it must be, such as 16MB.`},
		{"no value of a setting", `{"settings": {"jit": null}}`, ``, "settings.jit: null is not supported. Supported are: on, off."},
		{"settings that are none", `{"settings": ["jit"]}`, ``, "Parameter settings is of the wrong type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			agreed, err := small.New(raw(tc.given), 1)
			refused(t, err, backstay.Invalid, tc.words)
			if err == nil && (string(agreed.Spec.Settings) != tc.settings || string(agreed.Parameters) != tc.given ||
				agreed.Spec.Engine != "postgres" || agreed.Spec.Version != "15" || agreed.Spec.Build != "15.18" ||
				agreed.Spec.Size != small.Size || agreed.When != terms.Now) {
				t.Errorf("agreed on %+v", agreed)
			}
		})
	}
}

// The windows of a new instance are those of its parameters, else those of its plan, else random.
func TestWindowsOfANewInstance(t *testing.T) {
	t.Parallel()
	sunday, _ := window.ParseWeekly("sun:23:00-mon:01:30")
	early, _ := window.ParseDaily("02:00-05:00")
	given := raw(`{"preferred_maintenance_window": "wed:12:00-wed:12:30"}`)
	fixed := small
	fixed.Windows = terms.Windows{Maintenance: sunday, Backup: early}
	for seed := range uint64(100) {
		agreed, err := small.New(given, seed)
		if err != nil || agreed.Windows.Maintenance.String() != "wed:12:00-wed:12:30" || agreed.Windows.Backup.Length == 0 {
			t.Fatalf("%+v, %v", agreed.Windows, err)
		}
		if agreed, err = fixed.New(nil, seed); err != nil || agreed.Windows != fixed.Windows {
			t.Fatalf("%+v, %v", agreed.Windows, err)
		}
		if agreed, err = fixed.New(given, seed); err != nil || agreed.Windows.Backup != early ||
			agreed.Windows.Maintenance.String() != "wed:12:00-wed:12:30" {
			t.Fatalf("%+v, %v", agreed.Windows, err)
		}
	}
}

// What the plan says of the engine's settings goes over what users give, and what its rules have as a default stands for
// what they do not give. Neither is among what they have given.
func TestSettingsOfThePlan(t *testing.T) {
	t.Parallel()
	rules := described("b", "extensions")
	rules["properties"].(map[string]any)["a"] = map[string]any{"default": "usual"}
	p := terms.Plan{Create: rules, Settings: map[string]any{"extensions": []string{"x", "y"}}}
	for given, want := range map[string]string{
		``:                                `{"a":"usual","extensions":["x","y"]}`,
		`{}`:                              `{"a":"usual","extensions":["x","y"]}`,
		`{"a":"other","b":1}`:             `{"a":"other","b":1,"extensions":["x","y"]}`,
		`{"b":2,"extensions":["dblink"]}`: `{"a":"usual","b":2,"extensions":["x","y"]}`,
	} {
		agreed, err := p.New(raw(given), 1)
		if err != nil || string(agreed.Spec.Settings) != want || string(agreed.Parameters) != given {
			t.Errorf("%s: settings %s, parameters %s, %v; want %s", given, agreed.Spec.Settings, agreed.Parameters, err, want)
		}
	}
}

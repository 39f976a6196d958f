package terms_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/window"
)

// other returns the small plan, changed.
func other(name string, change func(*terms.Plan)) *terms.Plan {
	p := small
	p.Name = name
	change(&p)
	return &p
}

var (
	large = other("L", func(p *terms.Plan) {
		p.Size = backstay.Size{Storage: 20 * backstay.GB, Memory: 8 * backstay.GB, Connections: 99}
	})
	tiny  = other("T", func(p *terms.Plan) { p.Size.Connections = 5 })
	short = other("Free", func(p *terms.Plan) { p.Size.Storage = 5 * backstay.GB })
	newer = other("S-17", func(p *terms.Plan) {
		p.Version, p.Builds = "17", terms.Builds{"15": {"15.19"}, "16": {"16.4"}, "17": {"17.2"}}
	})
	older   = other("S-9.6", func(p *terms.Plan) { p.Version = "9.6" })
	foreign = other("R", func(p *terms.Plan) { p.Engine = "redis" })
	sealed  = other("E", func(p *terms.Plan) { p.Encrypted = true })
	fixed   = other("F", func(p *terms.Plan) { p.Changeable = false })
)

func ptr(p terms.Plan) *terms.Plan { return &p }

// instance is what was accepted of one that has the plan, with these parameters.
func instance(t *testing.T, p terms.Plan, parameters string) terms.Accepted {
	t.Helper()
	agreed, err := p.New(nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	before := terms.Accepted{Parameters: raw(parameters), Spec: agreed.Spec, Windows: agreed.Windows, Build: agreed.Spec.Build}
	before.Spec.Settings, before.Spec.TLS = raw(parameters), backstay.Certificate{Leaf: "leaf"}
	before.Windows.Maintenance, _ = window.ParseWeekly("tue:04:00-tue:04:30")
	before.Windows.Backup, _ = window.ParseDaily("02:00-02:30")
	before.Chosen = before.Windows
	return before
}

func TestPlanChange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		from     terms.Plan
		to       *terms.Plan
		given    string
		kind     backstay.Kind
		words    string
		accepted string
	}{
		{name: "up", from: small, to: large},
		{name: "fewer connections", from: small, to: tiny},
		{name: "free to paid", from: *short, to: ptr(small)},
		{name: "a newer version", from: small, to: newer},
		{name: "over several versions", from: *older, to: newer},
		{name: "with settings", from: small, to: large, given: `{"settings": {"jit": "off"}}`},
		{name: "in the window", from: small, to: large, given: `{"apply_at_maintenance_window": true}`},
		{name: "with what is not to happen", from: small, to: large,
			given: `{"reboot": false, "update_minor_version_to_latest": false, "apply_at_maintenance_window": false}`},
		{name: "from one that is no longer sold", from: terms.Plan{}, to: large},

		{name: "from a fixed plan", from: *fixed, to: large, kind: backstay.Unsupported,
			words: "The service does not support changing plans."},
		{name: "to a fixed plan", from: small, to: fixed, kind: backstay.Unsupported,
			words: "The service does not support changing plans."},
		{name: "another engine", from: small, to: foreign, kind: backstay.Unsupported,
			words: "this service instance is of postgres, and plan R is of redis. Instead, create a new service instance of that plan"},
		{name: "an older version", from: small, to: older, kind: backstay.Unsupported,
			words: "this service instance has version 15, and plan S-9.6 has version 9.6. Choose a plan of version 15 or newer"},
		{name: "back to what was before an upgrade", from: small, to: older, given: `{"roll_back_upgrade": true}`},
		{name: "back to where it is", from: small, to: large, given: `{"roll_back_upgrade": true}`,
			kind: backstay.Unsupported, words: "There is no upgrade to roll back with plan L"},
		{name: "less storage", from: small, to: short, kind: backstay.Unsupported,
			words: "Storage never shrinks: this service instance has 10GB, and plan Free has 5GB. Choose a plan with 10GB or more"},
		{name: "less storage, from one that is no longer sold", from: terms.Plan{}, to: short, kind: backstay.Unsupported,
			words: "Storage never shrinks"},
		{name: "encryption", from: small, to: sealed, kind: backstay.Unsupported,
			words: "encryption at rest cannot be enabled or disabled"},
		{name: "no encryption", from: *sealed, to: ptr(small), kind: backstay.Unsupported, words: "encryption at rest cannot be"},
		{name: "and reboot", from: small, to: large, given: `{"reboot": true}`, kind: backstay.Invalid,
			words: "A new plan and reboot do not go together"},
		{name: "and the newest minor version", from: small, to: large, given: `{"update_minor_version_to_latest": true}`,
			kind: backstay.Invalid, words: "A new plan and update_minor_version_to_latest do not go together"},
		{name: "and more", from: small, to: large, given: `{"enable_things": ["x"], "disable_things": ["y"]}`,
			kind: backstay.Invalid, words: "A new plan and disable_things and enable_things do not go together"},
		{name: "and what is wrong", from: small, to: large, given: `{"b": 1}`, kind: backstay.Invalid,
			words: "Unknown parameter: b."},
		{name: "with less memory than a setting may take", from: small, accepted: `{"settings":{"work_mem":"200MB"}}`,
			to: other("M", func(p *terms.Plan) { p.Size.Memory = backstay.GB }), kind: backstay.Invalid,
			words: "Setting work_mem cannot be 200MB: in plan M it takes 64KB to 128MB."},
		{name: "that does not take what is set", from: small, accepted: `{"settings":{"old":1}}`, to: large,
			kind: backstay.Invalid, words: "Unknown setting: old."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			was := tc.from
			if was.Engine == "" {
				was = small
			}
			before := instance(t, was, tc.accepted)
			agreed, err := tc.from.Change(before, terms.Change{Plan: tc.to, Parameters: raw(tc.given)})
			refused(t, err, tc.kind, tc.words)
			if err == nil && (agreed.Spec.Size != tc.to.Size || agreed.Spec.Version != tc.to.Version ||
				agreed.Spec.TLS.Leaf != "leaf" || agreed.Spec.Restarts != 0 ||
				agreed.Spec.RollBack != strings.Contains(tc.given, "roll_back_upgrade") || !agreed.Changes(before)) {
				t.Errorf("agreed on %+v", agreed)
			}
		})
	}
}

func TestParameterChange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, accepted, given string
		want                  string // parameters
		words                 string // of a refusal
		restarts              int64
	}{
		{name: "nothing", accepted: `{"a":1}`, want: `{"a":1}`},
		{name: "an empty object", accepted: `{"a":1}`, given: `{}`, want: `{"a":1}`},
		{name: "one", accepted: `{"a":1}`, given: `{"a":2}`, want: `{"a":2}`},
		{name: "the first one", given: `{"a":2}`, want: `{"a":2}`},
		{name: "beside one that only a new instance takes", accepted: `{"collation":"C"}`, given: `{"a":2}`,
			want: `{"a":2,"collation":"C"}`},
		{name: "things are added", accepted: `{"enable_things":["b"]}`, given: `{"enable_things":["c","a","b"]}`,
			want: `{"enable_things":["a","b","c"]}`},
		{name: "things are taken out", accepted: `{"enable_things":["a","b"]}`, given: `{"disable_things":["b"]}`,
			want: `{"disable_things":["b"],"enable_things":["a"]}`},
		{name: "all things are taken out", accepted: `{"enable_things":["b"]}`, given: `{"disable_things":["b"]}`,
			want: `{"disable_things":["b"]}`},
		{name: "things come back", accepted: `{"disable_things":["b"]}`, given: `{"enable_things":["b"]}`,
			want: `{"enable_things":["b"]}`},
		{name: "some out, some in", accepted: `{"enable_things":["a"]}`, given: `{"enable_things":["b"],"disable_things":["a"]}`,
			want: `{"disable_things":["a"],"enable_things":["b"]}`},
		{name: "no things", accepted: `{"enable_things":["a"]}`, given: `{"enable_things":[]}`, want: `{"enable_things":["a"]}`},
		{name: "in and out at once", given: `{"enable_things":["a","b"],"disable_things":["b"]}`,
			words: "b stands in both enable_things and disable_things"},
		{name: "settings", accepted: `{"settings":{"jit":"on"}}`, given: `{"settings":{"parallel":2}}`,
			want: `{"settings":{"jit":"on","parallel":2}}`},
		{name: "a setting replaced", accepted: `{"settings":{"jit":"on"}}`, given: `{"settings":{"jit":"off"}}`,
			want: `{"settings":{"jit":"off"}}`},
		{name: "a setting reset", accepted: `{"settings":{"jit":"on","parallel":2}}`, given: `{"settings":{"jit":null}}`,
			want: `{"settings":{"parallel":2}}`},
		{name: "the last setting reset", accepted: `{"settings":{"jit":"on"}}`, given: `{"settings":{"jit":null}}`},
		{name: "a setting reset that was not set", given: `{"settings":{"jit":null}}`},
		{name: "unknown setting reset", given: `{"settings":{"fsync":null}}`, words: "Unknown setting: fsync."},
		{name: "a setting of the wrong type", given: `{"settings":{"parallel":"2"}}`,
			words: "Parameter settings.parallel is of the wrong type: it is string and must be null or integer."},
		{name: "a setting with another value", given: `{"settings":{"jit":"maybe"}}`,
			words: "Parameter settings.jit: maybe is not supported. Supported are: on, off, null."},

		{name: "reboot", given: `{"reboot":true}`, restarts: 1},
		{name: "no reboot", given: `{"reboot":false}`},
		{name: "reboot with things", given: `{"reboot":true,"enable_things":["a"]}`, want: `{"enable_things":["a"]}`, restarts: 1},
		{name: "reboot with settings", given: `{"reboot":true,"settings":{"jit":"on"}}`, want: `{"settings":{"jit":"on"}}`, restarts: 1},
		{name: "reboot with an upgrade", given: `{"reboot":true,"update_minor_version_to_latest":true}`,
			words: "An upgrade and reboot do not go together"},
		{name: "an upgrade with settings", given: `{"update_minor_version_to_latest":true,"settings":{"jit":"on"}}`,
			want: `{"settings":{"jit":"on"}}`},
		{name: "failover", given: `{"force_failover":true}`, words: "The plan has one node"},
		{name: "test of a failover", given: `{"test_failover":true}`, words: "leave test_failover out"},
		{name: "failover with reboot", given: `{"reboot":true,"force_failover":true}`, words: `leave force_failover out. {"reboot": true}`},

		{name: "unknown", given: `{"b":1}`, words: "Unknown parameter: b. Supported are: a, apply_at_maintenance_window, " +
			"backup, disable_things, enable_things, preferred_backup_window, preferred_maintenance_window, " +
			"reboot, restore_to_point_in_time, roll_back_upgrade, settings, skip_final_snapshot, " +
			"update_minor_version_to_latest."},
		{name: "of a new instance", given: `{"collation":"C"}`, words: "Parameter collation is decided when a service " +
			"instance is created, and stays. Create a new service instance with another collation"},
		{name: "no last backup where there are none", given: `{"skip_final_snapshot":true}`},
		{name: "of the wrong type", given: `{"reboot":"yes"}`,
			words: "Parameter reboot is of the wrong type: it is string and must be boolean."},
		{name: "null", given: `{"apply_at_maintenance_window":null}`, words: "it is null and must be boolean"},
		{name: "no object", given: `[]`, words: "Parameters must be a JSON object"},
		{name: "null for an object", given: `null`, words: "Parameters must be a JSON object"},
		{name: "no JSON", given: `{`, words: "Parameters must be a JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			before := instance(t, small, tc.accepted)
			agreed, err := small.Change(before, terms.Change{Parameters: raw(tc.given)})
			refused(t, err, backstay.Invalid, tc.words)
			if err != nil {
				return
			}
			if string(agreed.Parameters) != tc.want || string(agreed.Spec.Settings) != tc.want ||
				agreed.Spec.Restarts != tc.restarts || agreed.When != terms.Now || agreed.Windows != before.Windows {
				t.Errorf("agreed on %+v; want parameters %s and %d restarts", agreed, tc.want, tc.restarts)
			}
			if changes := tc.want != tc.accepted || tc.restarts > 0; agreed.Changes(before) != changes {
				t.Errorf("it changes: %t", !changes)
			}
		})
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	const nothing = "There is nothing that apply_at_maintenance_window could apply"
	for _, tc := range []struct {
		name, given string
		plan        *terms.Plan
		upgrade     bool
		when        terms.When
		asked       string
		maintenance string // that is in force at once; empty: as it was
		words       string
	}{
		{name: "plan", plan: large, when: terms.Now},
		{name: "plan now", plan: large, given: `{"apply_at_maintenance_window":false}`, when: terms.Now},
		{name: "plan later", plan: large, given: `{"apply_at_maintenance_window":true}`, when: terms.AtWindow},
		{name: "plan in a new window", plan: large, when: terms.AtWindow, maintenance: "wed:03:32-wed:04:02",
			given: `{"apply_at_maintenance_window": true, "preferred_maintenance_window": "wed:03:32-wed:04:02"}`},
		{name: "settings later", given: `{"apply_at_maintenance_window":true,"settings":{"jit":"on"}}`,
			when: terms.AtWindow, asked: `{"settings":{"jit":"on"}}`},
		{name: "reset later", given: `{"apply_at_maintenance_window":true,"settings":{"jit":null}}`,
			when: terms.AtWindow, asked: `{"settings":{"jit":null}}`},
		{name: "reboot later", given: `{"apply_at_maintenance_window":true,"reboot":true}`,
			when: terms.AtWindow, asked: `{"reboot":true}`},
		{name: "upgrade later", given: `{"apply_at_maintenance_window":true}`, upgrade: true, when: terms.AtWindow},
		{name: "window", given: `{"preferred_maintenance_window":"Wed:03:32-wed:04:02"}`, when: terms.Now,
			maintenance: "wed:03:32-wed:04:02"},
		{name: "withdraw", given: `{"apply_at_maintenance_window":false}`, when: terms.Withdraw},
		{name: "withdraw and move", when: terms.Withdraw, maintenance: "wed:03:32-wed:04:02",
			given: `{"apply_at_maintenance_window":false,"preferred_maintenance_window":"wed:03:32-wed:04:02"}`},
		{name: "nothing later", given: `{"apply_at_maintenance_window":true}`, words: nothing},
		{name: "a declined reboot later", given: `{"apply_at_maintenance_window":true,"reboot":false}`, words: nothing},
		{name: "no settings later", given: `{"apply_at_maintenance_window":true,"settings":{}}`, words: nothing},
		{name: "withdraw and decline", given: `{"apply_at_maintenance_window":false,"reboot":false}`, when: terms.Withdraw},
		{name: "a window alone later", words: nothing,
			given: `{"apply_at_maintenance_window":true,"preferred_maintenance_window":"wed:03:32-wed:04:02"}`},
		{name: "a window over the backup", given: `{"preferred_maintenance_window":"wed:01:45-wed:02:15"}`,
			words: "overlaps the daily backup window 02:00-02:30"},
		{name: "a backup over the window", given: `{"preferred_backup_window":"03:00-05:00"}`,
			words: "The maintenance window tue:04:00-tue:04:30 overlaps"},
		{name: "a short window", given: `{"preferred_maintenance_window":"wed:01:45-wed:02:00"}`, words: "at least 30 minutes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			before := instance(t, small, "")
			agreed, err := small.Change(before, terms.Change{Plan: tc.plan, Upgrade: tc.upgrade, Parameters: raw(tc.given)})
			refused(t, err, backstay.Invalid, tc.words)
			if err != nil {
				return
			}
			want := before.Windows
			if tc.maintenance != "" {
				want.Maintenance, _ = window.ParseWeekly(tc.maintenance)
			}
			if agreed.When != tc.when || string(agreed.Asked) != tc.asked || agreed.Windows != want {
				t.Errorf("agreed on %+v", agreed)
			}
		})
	}
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	updated := other("S", func(p *terms.Plan) { p.Builds = terms.Builds{"15": {"15.19"}, "17": {"17.2"}} })
	free := other("Free", func(p *terms.Plan) { p.Version, p.Builds = "17", updated.Builds }) // of the newest version
	minor, reboot := raw(`{"update_minor_version_to_latest":true}`), raw(`{"reboot":true}`)
	for _, tc := range []struct {
		name            string
		plan            *terms.Plan
		pinned, serving string
		change          terms.Change
		want            string
	}{
		{"parameters keep it", updated, "15.18", "15.18", terms.Change{Parameters: raw(`{"a":1}`)}, "15.18"},
		{"a reboot keeps it", updated, "15.18", "15.18", terms.Change{Parameters: reboot}, "15.18"},
		{"a plan of the version keeps it", updated, "15.18", "15.18",
			terms.Change{Plan: other("L", func(p *terms.Plan) { p.Builds = updated.Builds })}, "15.18"},
		{"what serves where none is known", updated, "", "15.17", terms.Change{Parameters: raw(`{"a":1}`)}, "15.17"},
		{"an upgrade", updated, "15.18", "15.18", terms.Change{Upgrade: true}, "15.19"},
		{"the newest minor version", updated, "15.18", "15.18", terms.Change{Parameters: minor}, "15.19"},
		{"nothing newer", &small, "15.18", "15.18", terms.Change{Parameters: minor}, "15.18"},
		{"a newer version", updated, "15.18", "15.18", terms.Change{Plan: newer}, "17.2"},
		{"the newest minor version where the plan has a newer major one", free, "15.18", "15.18",
			terms.Change{Parameters: minor}, "15.19"},
		{"an upgrade where the plan has a newer major version", free, "15.18", "15.18", terms.Change{Upgrade: true}, "17.2"},
		{"parameters where the plan has a newer major version", free, "15.18", "15.18",
			terms.Change{Parameters: raw(`{"a":1}`)}, "15.18"},
		{"no longer sold", &terms.Plan{}, "15.18", "15.18", terms.Change{Upgrade: true}, "15.18"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			before := instance(t, small, "")
			before.Spec.Build, before.Build = tc.pinned, tc.serving
			agreed, err := tc.plan.Change(before, tc.change)
			major, _, _ := strings.Cut(tc.want, ".")
			if err != nil || agreed.Spec.Build != tc.want || agreed.Spec.Version != major {
				t.Errorf("agreed on version %s, build %s, %v; want %s", agreed.Spec.Version, agreed.Spec.Build, err, tc.want)
			}
		})
	}
}

// A plan that is no longer sold goes on giving what it gave, and the platform's parameters still work.
func TestPlanNoLongerSold(t *testing.T) {
	t.Parallel()
	before := instance(t, small, `{"a":1}`)
	var gone terms.Plan
	agreed, err := gone.Change(before, terms.Change{Parameters: raw(`{"reboot":true}`)})
	if err != nil || agreed.Spec.Restarts != 1 || agreed.Spec.Size != small.Size || string(agreed.Spec.Settings) != `{"a":1}` {
		t.Errorf("agreed on %+v, %v", agreed, err)
	}
	before.Spec.Nodes = 2
	failover := terms.Change{Parameters: raw(`{"reboot":true,"force_failover":true}`)}
	if agreed, err = gone.Change(before, failover); err != nil || agreed.Spec.Failovers != before.Spec.Failovers+1 {
		t.Errorf("a failover: %+v, %v", agreed.Spec, err)
	}
	_, err = gone.Change(before, terms.Change{Parameters: raw(`{"a":2}`)})
	refused(t, err, backstay.Unsupported, "is not offered any more, and only apply_at_maintenance_window, ")
}

// The storage of an instance stays, whatever the catalog says by now.
func TestStorageStays(t *testing.T) {
	t.Parallel()
	before := instance(t, small, "")
	agreed, err := short.Change(before, terms.Change{Parameters: raw(`{"a":2}`)})
	if err != nil || agreed.Spec.Size.Storage != small.Size.Storage {
		t.Errorf("agreed on %+v, %v", agreed, err)
	}
}

// What is asked for in the window comes to the same then as it would now.
func TestAskedIsTheChange(t *testing.T) {
	t.Parallel()
	before := instance(t, small, `{"enable_things":["a"],"settings":{"jit":"on"}}`)
	given := `"enable_things":["b"],"disable_things":["a"],"settings":{"jit":null,"parallel":3},"reboot":true`
	now, err := small.Change(before, terms.Change{Parameters: raw("{" + given + "}")})
	if err != nil {
		t.Fatal(err)
	}
	waits, err := small.Change(before, terms.Change{Parameters: raw(`{"apply_at_maintenance_window":true,` + given + "}")})
	if err != nil {
		t.Fatal(err)
	}
	later, err := small.Change(before, terms.Change{Parameters: waits.Asked})
	if err != nil || later.When != terms.Now || string(later.Parameters) != string(now.Parameters) ||
		later.Spec.Restarts != now.Spec.Restarts || string(later.Spec.Settings) != string(now.Spec.Settings) {
		t.Errorf("agreed on %+v, %v; want %+v", later, err, now)
	}
}

func FuzzChange(f *testing.F) {
	f.Add(`{"a":1}`, `{"enable_things":["a"],"settings":{"jit":null},"apply_at_maintenance_window":true}`)
	f.Add(``, `{"reboot":true}`)
	f.Add(`{"settings":{"jit":"on"}}`, `{"disable_things":[1],"preferred_backup_window":"02:00-05:00"}`)
	f.Fuzz(func(t *testing.T, accepted, given string) {
		var o map[string]json.RawMessage
		if json.Unmarshal([]byte(accepted), &o) != nil || small.UpdateRules().Check(raw(accepted)) != nil {
			return // never accepted
		}
		before := terms.Accepted{Parameters: raw(accepted), Spec: backend.Spec{Engine: "postgres", Version: "15"}}
		first, err := small.Change(before, terms.Change{Parameters: raw(given)})
		if err != nil {
			if kind := backstay.KindOf(err); kind != backstay.Invalid && kind != backstay.Unsupported {
				t.Fatalf("%s on %s: %v", given, accepted, err)
			}
			return
		}
		again := before
		again.Parameters, again.Spec = first.Parameters, first.Spec
		second, err := small.Change(again, terms.Change{Parameters: raw(given)})
		if err != nil || string(second.Parameters) != string(first.Parameters) {
			t.Fatalf("%s on %s comes to %s, and again to %s, %v", given, accepted, first.Parameters, second.Parameters, err)
		}
	})
}

// TestWindowThatNobodyChose makes way for one that somebody chooses, and only then.
func TestWindowThatNobodyChose(t *testing.T) {
	t.Parallel()
	moved, moves := 0, 0
	for seed := range uint64(200) {
		agreed, err := small.New(nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		before := terms.Accepted{Spec: agreed.Spec, Windows: agreed.Windows, Chosen: agreed.Chosen, Chance: seed}
		after, err := small.Change(before, terms.Change{
			Parameters: raw(`{"preferred_maintenance_window": "wed:03:32-wed:04:02"}`),
		})
		if err != nil {
			t.Fatalf("with the backup window %s: %v", before.Windows.Backup, err)
		}
		overlapped := after.Windows.Maintenance.Overlaps(before.Windows.Backup)
		if overlapped {
			moved++
		}
		if after.Windows.Maintenance.Overlaps(after.Windows.Backup) ||
			(after.Windows.Backup != before.Windows.Backup) != overlapped {
			t.Errorf("seed %d: %s becomes %s", seed, before.Windows.Backup, after.Windows.Backup)
		}
		after, err = small.Change(before, terms.Change{Parameters: raw(`{"preferred_backup_window": "23:00-00:30"}`)})
		if err != nil {
			t.Fatalf("with the maintenance window %s: %v", before.Windows.Maintenance, err)
		}
		if after.Windows.Maintenance != before.Windows.Maintenance {
			moves++
		}
	}
	if moved == 0 || moves == 200 {
		t.Errorf("%d backup windows were in the way, and %d maintenance windows", moved, moves)
	}
}

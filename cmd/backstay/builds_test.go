package main

import (
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper"
)

func TestExamineBuild(t *testing.T) {
	t.Parallel()
	older := engine.Installation{Product: "PostgreSQL", Version: "15", FullVersion: "15.18", Dir: "/kept/bin"}
	newer, another := older, older
	newer.FullVersion, newer.Dir = "15.20", "/usr/bin"
	another.Version, another.FullVersion = "17", "17.2"
	many := []backstay.InstanceID{"a", "b", "c", "d", "e", "f"}
	for _, tc := range []struct {
		name      string
		kept      engine.Installation
		instances []backstay.InstanceID
		level     level
		state     string
	}{
		{"the one that is installed", newer, many, good, "used by 6 (a, b, c, d, e, …); /kept, which takes 1.5MB"},
		{"an older one", older, many[:1], fair,
			"used by 1 (a); /kept, which takes 1.5MB. 15.20 is installed: they change to it in their maintenance windows, " +
				"or by cf upgrade-service"},
		{"an older one of ours", older, []backstay.InstanceID{stateInstance}, fair, "when it is next started"},
		{"an older one that nobody uses", older, nil, good, "used by no instance; /kept, which takes 1.5MB"},
		{"one of another version", another, many[:1], good, "used by 1 (a); /kept, which takes 1.5MB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kept := keeper.KeptBuild{Installation: tc.kept, Copy: "/kept", Size: 3 * backstay.MB / 2, Instances: tc.instances}
			f := examineBuild(kept, []engine.Installation{newer})
			if f.level != tc.level || !strings.HasSuffix(f.state, tc.state) {
				t.Errorf("it says %s %q, want %s %q", f.level, f.state, tc.level, tc.state)
			}
		})
	}
}

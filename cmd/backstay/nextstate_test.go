package main

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// TestTheStateGoesNowhereWithoutBackups tells versions, newest first, of which those with a star can be backed up.
func TestTheStateGoesNowhereWithoutBackups(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		there      []string
		from, want string
	}{
		{[]string{"17*", "15*"}, "15", "17"},
		{[]string{"17", "15*"}, "15", "15"},
		{[]string{"18", "17*", "15*"}, "15", "17"},
		{[]string{"17", "15"}, "15", "17"},
		{[]string{"17", "15*"}, "17", "17"}, // there is no way back
		{[]string{"17"}, "15", "17"},
		{[]string{"17", "15*"}, "", "15"},
		{[]string{"17", "15"}, "", "17"},
		{nil, "", ""},
		{nil, "15", ""},
	} {
		var inventory backend.Inventory
		for _, version := range tc.there {
			e := backend.EngineVersion{Engine: stateEngine, Version: version, RestorePoints: backstay.NoRestorePoints}
			if last := len(version) - 1; version[last] == '*' {
				e.Version, e.RestorePoints = version[:last], backstay.AnySecond
			}
			inventory.Engines = append(inventory.Engines, e)
		}
		got, ok := nextStateVersion(inventory, tc.from)
		if got.Version != tc.want || ok != (tc.want != "") {
			t.Errorf("with %q there, the state goes from %q to %q, want %q", tc.there, tc.from, got.Version, tc.want)
		}
	}
}

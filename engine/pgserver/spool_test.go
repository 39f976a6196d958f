package pgserver

import "testing"

func TestGoesOn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		last, name string
		want       bool
	}{
		{"000000010000000000000003", "000000010000000000000004", true},
		{"000000010000000000000003", "000000010000000000000005", false},
		{"0000000100000000000000FF", "000000010000000100000000", true},
		{"000000010000000000000003", "000000020000000000000004", true},
		{"000000010000000000000003", "000000020000000000000003", true}, // the standby had less of it
		{"000000010000000000000003", "000000020000000000000005", false},
		{"0000000100000000000000FF", "000000030000000100000000", true},
		{"000000020000000000000004", "000000010000000000000004", false},
	} {
		if got := goesOn(tc.last, tc.name); got != tc.want {
			t.Errorf("%s after %s: goes on %t, want %t", tc.name, tc.last, got, tc.want)
		}
	}
}

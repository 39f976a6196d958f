package engine_test

import (
	"slices"
	"testing"

	"github.com/backstay/backstay/engine"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"15.9", "15.10", -1}, {"9.6.24", "10.1", -1}, {"16", "15.18", 1}, {"15.2", "15.2", 0}, {"15", "15.1", -1},
		{"10.11.14", "10.11.6", 1}, {"8.4.0", "8.4", 1}, {"7.0.15", "8.1.4", -1}, {"2.19.5", "2.9.0", 1}, {"15", "", 1},
		{"1.0-0", "1.0-1", -1}, {"0.109-0", "1.0-0", -1}, {"2.07", "2.7", 0},
		{"2.99999999999999999999", "2.100000000000000000000", -1},
		{on186, on186, 0}, {on186, on187, -1}, {on187, on190, -1}, {onNewer, on186, 1},
		{"2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0", "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-1", -1},
		{"2.7.1 on PostgreSQL 18.6 with DocumentDB 1.0-0", on190, 1},
		{"2.7.0", on186, -1},
	} {
		if got := engine.CompareVersions(tc.a, tc.b); got != tc.want {
			t.Errorf("%s and %s: got %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if got := engine.CompareVersions(tc.b, tc.a); got != -tc.want {
			t.Errorf("%s and %s: got %d, want %d", tc.b, tc.a, got, -tc.want)
		}
	}
}

const (
	on186   = "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0"
	on187   = "2.7.0 on PostgreSQL 18.7 with DocumentDB 1.0-0"
	on190   = "2.7.0 on PostgreSQL 19.0 with DocumentDB 1.0-0"
	onNewer = "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.1-0"
)

func TestFoundation(t *testing.T) {
	t.Parallel()
	for full, want := range map[string]string{
		on186: "PostgreSQL 18", on187: "PostgreSQL 18", on190: "PostgreSQL 19", "15.18": "", "": "",
		"2.7.0 on PostgreSQL 18":                               "PostgreSQL 18",
		"2.7.0 on Node.js 18.2":                                "Node.js 18",
		"2.7.0 on Percona Server 8.4.1 with A 1.0 with B 2-1":  "Percona Server 8",
		"2.7.0 on PostgreSQL":                                  "PostgreSQL",
		"2.7.0 with DocumentDB 1.0 on PostgreSQL 18.6 with it": "PostgreSQL 18",
	} {
		if got := engine.Foundation(full); got != want {
			t.Errorf("%q stands on %q, want %q", full, got, want)
		}
	}
}

func TestSucceeds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		full, before string
		want         bool
	}{
		{"15.19", "15.18", true}, {"15.18", "15.18", false}, {"15.18", "15.19", false},
		{on187, on186, true}, {onNewer, on186, true}, {on186, on187, false}, {on186, on186, false},
		{on190, on187, false}, {on187, on190, false},
		{"2.8.0 on PostgreSQL 18.6 with DocumentDB 1.0-0", on187, true},
		{"2.8.0 on PostgreSQL 19.0 with DocumentDB 1.0-0", on187, false},
		{on187, "2.7.0", false}, {"2.8.0", on187, false},
	} {
		if got := engine.Succeeds(tc.full, tc.before); got != tc.want {
			t.Errorf("%s after %s: got %t, want %t", tc.full, tc.before, got, tc.want)
		}
	}
}

// FuzzVersions compares any three texts: they have an order, in which of two builds at most one succeeds the other.
func FuzzVersions(f *testing.F) {
	f.Add("15.18", "15.9", "16")
	f.Add(on186, on187, on190)
	f.Add(" on ", "on 1 with ", "2 on  3. with")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, ba := engine.CompareVersions(a, b), engine.CompareVersions(b, a)
		if ab != -ba || engine.CompareVersions(a, a) != 0 {
			t.Errorf("%q and %q: %d, and the other way round %d", a, b, ab, ba)
		}
		sorted := []string{a, b, c}
		slices.SortFunc(sorted, engine.CompareVersions)
		if engine.CompareVersions(sorted[0], sorted[2]) > 0 {
			t.Errorf("%q is not in order", sorted)
		}
		if engine.Succeeds(a, b) && (engine.Succeeds(b, a) || engine.Foundation(a) != engine.Foundation(b)) {
			t.Errorf("%q succeeds %q", a, b)
		}
	})
}

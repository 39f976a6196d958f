package engine_test

import (
	"testing"

	"github.com/backstay/backstay/engine"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{{"15.9", "15.10", -1}, {"9.6.24", "10.1", -1}, {"16", "15.18", 1}, {"15.2", "15.2", 0}, {"15", "15.1", -1}} {
		if got := engine.CompareVersions(tc.a, tc.b); got != tc.want {
			t.Errorf("%s and %s: got %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

package testkit_test

import (
	"flag"
	"slices"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestDrawn looks how much is drawn, and when nothing is left out.
func TestDrawn(t *testing.T) {
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	asked := flag.Lookup("test.run").Value
	before := asked.String()
	t.Cleanup(func() { asked.Set(before) })
	t.Setenv("BACKSTAY_TEST_EVERY_STEP", "")
	asked.Set("TestDrawn")
	seen := map[int]bool{}
	for range 500 {
		drawn := testkit.Drawn(t, all)
		if len(drawn) != 3 || !slices.IsSorted(drawn) {
			t.Fatalf("drawn are %v, want three in order", drawn)
		}
		for _, one := range drawn {
			seen[one] = true
		}
	}
	if len(seen) != len(all) {
		t.Errorf("of 500 draws %d are never drawn", len(all)-len(seen))
	}
	if drawn := testkit.Drawn(t, all[:1]); len(drawn) != 1 {
		t.Errorf("of one, %d are drawn", len(drawn))
	}
	for _, name := range []string{"^TestDrawn$/^sub$", "TestDrawn/sub$"} {
		asked.Set(name)
		t.Run("sub", func(t *testing.T) {
			if drawn := testkit.Drawn(t, all); len(drawn) != len(all) {
				t.Errorf("%d are drawn for %s", len(drawn), name)
			}
			testkit.InSomeRuns(t)
		})
	}
	asked.Set("TestDrawn")
	t.Setenv("BACKSTAY_TEST_EVERY_STEP", "yes")
	if drawn := testkit.Drawn(t, all); len(drawn) != len(all) {
		t.Errorf("%d are drawn where all is asked for", len(drawn))
	}
}

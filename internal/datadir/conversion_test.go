package datadir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/internal/datadir"
)

// TestAbandonLeavesTheOnlyData of a directory, which a conversion that was killed has in its workshop, to who puts it
// back; and nothing else.
func TestAbandonLeavesTheOnlyData(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		isWhole, isThere, isLeft bool
	}{
		"a new one":                    {false, false, false},
		"a new one beside the old one": {false, true, false},
		"what was there":               {true, false, true},
		"what was there was put back":  {true, true, false},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		write(t, filepath.Join(dir+".part", "data", "f"), "")
		if tc.isWhole {
			write(t, filepath.Join(dir+".part", datadir.Whole), "")
		}
		if tc.isThere {
			write(t, filepath.Join(dir, "f"), "")
		}
		if err := datadir.Abandon(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(dir+".part", "data", "f")); (err == nil) != tc.isLeft {
			t.Errorf("%s: it is left: %v, want %t", name, err, tc.isLeft)
		}
		if _, err := os.Lstat(filepath.Join(dir, "f")); (err == nil) != tc.isThere {
			t.Errorf("%s: the directory: %v", name, err)
		}
	}
}

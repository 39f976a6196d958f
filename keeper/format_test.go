package keeper_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestWhatANewerKeeperKeptIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	format := filepath.Join(c.DataDir, "keeper", "format")
	_, stop := keepertest.Run(t, c)
	stop()
	ours, err := os.ReadFile(format)
	if err != nil || !strings.HasSuffix(string(ours), " test\n") {
		t.Fatalf("a keeper marks its directory as %q, %v", ours, err)
	}
	_, stop = keepertest.Run(t, c) // another one of ours takes it up
	stop()
	mustWrite(t, format, "1 v0.0.1\n")
	_, stop = keepertest.Run(t, c)
	stop()
	if now, err := os.ReadFile(format); err != nil || string(now) != string(ours) {
		t.Errorf("what an older keeper kept is marked as %q, %v; want %q", now, err, ours)
	}
	mustWrite(t, format, "999 v9.9.9\n")
	for range 2 { // trying again does not help
		if err := keeper.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "a newer Backstay, v9.9.9") {
			t.Errorf("what a newer keeper kept: %v", err)
		}
	}
}

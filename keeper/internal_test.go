package keeper

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBoundLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "engine.log")
	if err := boundLog(path, 10); err != nil {
		t.Errorf("of no log: %v", err)
	}
	engine, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	for _, tc := range []struct{ says, log, before string }{
		{"0123456789", "0123456789", ""},
		{"abc", "", "3456789abc"},
		{"next", "next", "3456789abc"},
		{"0123456789ABCDEF", "", "6789ABCDEF"},
	} {
		if _, err := engine.WriteString(tc.says); err != nil {
			t.Fatal(err)
		}
		if err := boundLog(path, 10); err != nil {
			t.Fatal(err)
		}
		log, _ := os.ReadFile(path)
		before, _ := os.ReadFile(path + ".1")
		if string(log) != tc.log || !bytes.Equal(before, []byte(tc.before)) {
			t.Errorf("after %q the log is %q and the one before %q, want %q and %q", tc.says, log, before, tc.log, tc.before)
		}
	}
}

func TestStepNamesAreDistinct(t *testing.T) {
	t.Parallel()
	names := StepNames()
	slices.Sort(names)
	if len(names) == 0 || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("steps %q", names)
	}
}

func TestDataDirMustLeaveRoomForSockets(t *testing.T) {
	t.Parallel()
	c := Config{DataDir: "/" + strings.Repeat("d", maxDataDir)}
	if err := c.prepare(); err == nil || !strings.Contains(err.Error(), "leave room for Unix sockets") {
		t.Errorf("a path of %d bytes: %v", len(c.DataDir), err)
	}
}

package keeper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

func TestNewUID(t *testing.T) {
	t.Parallel()
	taken := map[uint32]bool{}
	for i := range 2000 {
		id := backstay.InstanceID(fmt.Sprint(i))
		uid := newUID(id, taken)
		if taken[uid] || uid < firstUID || uid > lastUID {
			t.Fatalf("%s gets %d", id, uid)
		}
		if again := newUID(id, taken); again != uid {
			t.Fatalf("%s gets %d and then %d", id, uid, again)
		}
		taken[uid] = true
		if next := newUID(id, taken); next == uid {
			t.Fatalf("%s gets %d though it is taken", id, uid)
		}
	}
}

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

package testkit

import (
	"os"
	"testing"
)

// Dir returns a new directory for one test, /tmp/bs-NNNN: short enough for a Unix socket some levels
// below it, and open to be passed through (0711) by engines that run as other users. It goes with
// the test, whoever owns what is in it; a process that still writes there fails the test.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's directory: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

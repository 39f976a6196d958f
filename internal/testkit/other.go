package testkit

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Other returns the directory into which scripts/other-servers has unpacked a server that this machine's distribution
// does not have, such as "postgres-17", laid out as the root of a machine. The test is skipped where it is not there.
func Other(t testing.TB, name string) (root string) {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	root = filepath.Join(filepath.Dir(self), "..", "..", "bin", "other", name)
	if _, err := os.Stat(root); err != nil {
		t.Skipf("there is no %s: scripts/other-servers bin/other brings it", root)
	}
	return root
}

package mysql

import (
	"os"
	"path/filepath"
	"testing"
)

// TestToCopy: what the redo log takes is none of the data, however much that is.
func TestToCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, size := range map[string]int{"ibdata1": 1 << 20, "ib_logfile0": 64 << 20} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if size, err := toCopy(dir); err != nil || size < 1<<20 || size > 2<<20 {
		t.Errorf("%d bytes are to be copied, %v; want those of the one file of data, 1 MB", size, err)
	}
}

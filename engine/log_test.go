package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
)

// TestLogLines: a line that no buffer holds keeps nobody from what comes behind it.
func TestLogLines(t *testing.T) {
	t.Parallel()
	n := engine.Node{LogFile: filepath.Join(t.TempDir(), "log")}
	if got := slices.Collect(n.LogLines()); len(got) > 0 {
		t.Errorf("a log that is not there has %q", got)
	}
	long := strings.Repeat("x", 200_000)
	if err := os.WriteFile(n.LogFile, []byte("first\n"+long+"\nlast"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(n.LogLines()); !slices.Equal(got, []string{"first", long[:4096], "last"}) {
		t.Errorf("got %d lines: %.20q", len(got), got)
	}
}

package enginetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/testkit"
)

// testCopy wants a copy of an installation to make data and to serve it, and to take nothing of the original.
func testCopy(t *testing.T, s Subject) {
	k, ok := s.Engine.(engine.Keepable)
	if !ok {
		t.Skip("its installations cannot be copied")
	}
	n := NewNode(t, s.Engine) // with a golden directory of its own
	root, files, err := k.Files(n.Installation)
	if err != nil {
		t.Fatal(err)
	}
	original, full := n.Installation, n.Installation.FullVersion
	n.Installation = copyOf(t, original, root, files)
	if reported, err := k.Report(t.Context(), n.Installation); err != nil || reported != full {
		t.Errorf("the copy reports %q, %v; want %s", reported, err, full)
	}
	p := Serve(t, s.Engine, n)
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "key", "value") })
	mapped, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if path := filepath.Join(root, name); strings.Contains(string(mapped), " "+path) {
			t.Errorf("the server has something of the original in its memory: %s", path)
		}
	}
	n.Installation.Dir = t.TempDir()
	if reported, err := k.Report(t.Context(), n.Installation); err == nil {
		t.Errorf("nothing reports that it is %s", reported)
	}
	if len(k.Traces()) == 0 {
		t.Error("it is nowhere to be seen when the installation changes")
	}
}

// copyOf copies an installation to a directory that its node can reach.
func copyOf(t *testing.T, i engine.Installation, root string, files []string) engine.Installation {
	t.Helper()
	dir, err := filepath.EvalSymlinks(i.Dir)
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Rel(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(testkit.MemoryDir(t), "copy")
	if err := clone.Link(copied, root, files); err != nil {
		t.Fatal(err)
	}
	i.Dir = filepath.Join(copied, below)
	return i
}

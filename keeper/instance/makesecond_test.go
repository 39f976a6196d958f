package instance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/keeper/node"
)

// TestWhatRejoinsIsLeft where whoever had it rejoin was killed in the middle: whoever comes next puts it back. Where it
// is to be copied, nothing of it is of use.
func TestWhatRejoinsIsLeft(t *testing.T) {
	t.Parallel()
	for _, rejoins := range []bool{true, false} {
		in := newIdle(t)
		n := node.Node{Node: engine.Node{DataDir: filepath.Join(t.TempDir(), "data-3")}}
		n.Dir, n.RunDir = filepath.Dir(n.DataDir), filepath.Join(t.TempDir(), "run")
		brought := filepath.Join(n.DataDir+partSuffix, "data")
		for _, dir := range []string{brought, filepath.Join(n.Dir, "data"), filepath.Join(n.Dir, "data.part")} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(n.DataDir+partSuffix, datadir.Whole), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.Abandon(); err != nil {
			t.Fatal(err)
		}
		if err := in.sweepSecond(Record{Second: &Second{Fenced: rejoins}}, n, "data-3"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(brought); (err == nil) != rejoins {
			t.Errorf("it rejoins: %t, and what there is of it: %v", rejoins, err)
		}
		if left, _ := filepath.Glob(filepath.Join(n.Dir, "data*")); len(left) > 1 {
			t.Errorf("besides, there is %q", left)
		}
	}
}

package mysql_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestCopiesAtOnce: a backup that begins while a node is copied ends no copy, nor does another copy, and nothing is left
// of any, nor of one that ended with its keeper.
func TestCopiesAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if !s.mariadb() {
		t.Skip("nothing copies it while it serves")
	}
	for _, left := range []string{".backup", ".backup-abcdefgh"} {
		if err := os.Mkdir(s.DataDir+left, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r := backstay.Repository{Dir: t.TempDir(), Part: string(s.Instance), Key: backstay.Secret(strings.Repeat("1a", 32))}
	var copies sync.WaitGroup
	for range 2 {
		n := enginetest.NewNode(t, tested)
		copies.Go(func() {
			if err := tested.Clone(t.Context(), s.Node, n, func(string) {}); err != nil {
				t.Errorf("clone: %v", err)
			}
		})
	}
	copies.Go(func() {
		if _, err := tested.Backup(t.Context(), s.Node, r, false); err != nil {
			t.Errorf("back up: %v", err)
		}
	})
	copies.Wait()
	if left, err := filepath.Glob(s.DataDir + ".backup*"); err != nil || len(left) > 0 {
		t.Errorf("there is left %v, %v", left, err)
	}
}

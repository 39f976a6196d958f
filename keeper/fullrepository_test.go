package keeper_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestRepositoryThatIsFull stops no instance from being written to, nor from ending at once. What is wrong is told, and
// is made up as soon as there is room, without a gap.
func TestRepositoryThatIsFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c, r := everything(t), smallRepository(t)
			m := newMoments(t, p, c, r)
			stop := m.start()
			filler := filepath.Join(r.Dir, "filler")
			fill(t, filler)
			m.write()
			m.ask()
			failed := mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
				return k.Asked == m.spec.Backups && !k.Running
			})
			if !strings.Contains(failed.Failed, "full") || !strings.Contains(failed.Trouble(), "full") {
				t.Errorf("a repository that is full is told of as %+v", failed)
			}
			m.write()
			began := time.Now()
			m.restart()
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("a restart took %v", took)
			}
			m.write()
			mustRemove(t, filler)
			mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
				return k.Trouble() == "" && len(k.List) > len(failed.List)
			})
			last := time.Now().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(last.Add(50 * time.Millisecond)))
			stop()
			m.restore(last)
		})
	}
}

// smallRepository is a directory on a small disk of its own.
func smallRepository(t *testing.T) backstay.Repository {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a small disk")
	}
	dir := filepath.Join(testkit.Dir(t), "repository")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64m,mode=0700"); err != nil {
		t.Skipf("this root may not mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return backstay.Repository{Dir: dir}
}

package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestBackupsAreProved restores the newest backup of each engine beside the instance, and finds one that was damaged.
// Nothing is left of it, and the instance serves all the time.
func TestBackupsAreProved(t *testing.T) {
	t.Parallel()
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := backupConfig(t, 1)
			c.Engines["mysql"] = mysql.Engine{}
			if _, ok := c.Engines[p.engine].(engine.Archiver); !ok {
				t.Skip("its nodes are not backed up")
			}
			b, _ := keepertest.Run(t, c)
			spec := specOf(t, p)
			spec.Backup = backedUp(t).Backup
			mustReach(t, b, spec)
			first := mustAwaitBackups(t, b, spec.Instance, atLeast(1)).List[0]
			asked, err := b.Prove(t.Context(), spec.Instance)
			if err != nil || asked.Backup != first.ID || asked.Reason != "" || asked.Took <= 0 {
				t.Fatalf("backup %s is proved as %+v, %v", first.ID, asked, err)
			}
			checkNoProof(t, c)
			mustDamage(t, filepath.Join(c.Repository.Dir, string(spec.Instance)))
			if p, err := b.Prove(t.Context(), spec.Instance); backstay.KindOf(err) != backstay.Invalid {
				t.Errorf("damaged backups are proved as %+v, %v", p, err)
			}
			mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
				return k.Proof.Reason != "" && strings.Contains(k.Trouble(), "could not be restored for a proof")
			})
			checkNoProof(t, c)
			mustCredentials(t, b, spec.Instance)
		})
	}
}

// TestProofsAreDaily: the keeper proves the newest backup by itself once a day has passed, and not before.
func TestProofsAreDaily(t *testing.T) {
	t.Parallel()
	c, ahead := aheadConfig(t)
	b, _ := keepertest.Run(t, c)
	spec, first := mustBackUpFirst(t, b)
	if !first.Proof.At.IsZero() {
		t.Errorf("the first backup was proved at once: %+v", first.Proof)
	}
	for range 2 {
		before := c.Now()
		ahead.Add(int64(25 * time.Hour))
		mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
			return k.Proof.At.Sub(before) >= 25*time.Hour && k.Proof.Reason == "" && k.Trouble() == ""
		})
		checkNoProof(t, c)
	}
}

// checkNoProof looks for what a proof has left.
func checkNoProof(t *testing.T, c keeper.Config) {
	t.Helper()
	for _, dir := range []string{"proof", "run/.proof"} {
		if _, err := os.Lstat(filepath.Join(c.DataDir, dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there behind a proof: %v", dir, err)
		}
	}
}

// mustDamage flips a bit in the middle of each file of a repository.
func mustDamage(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 {
			return err
		}
		text[len(text)/2] ^= 1
		return os.WriteFile(path, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeeperDiesInAProof at any moment: the next one ends what it has left, and proves the backup for who waits.
func TestKeeperDiesInAProof(t *testing.T) {
	t.Parallel()
	c := backupConfig(t, 1)
	b, kill, _ := keepertest.Start(t, c, "")
	spec, _ := mustBackUpFirst(t, b)
	for range 4 {
		proved := make(chan error, 1)
		go func() {
			p, err := b.Prove(t.Context(), spec.Instance)
			if err == nil && p.Reason != "" {
				err = errors.New(p.Reason)
			}
			proved <- err
		}()
		begun, wait := context.WithTimeout(t.Context(), limit)
		for !isThere(filepath.Join(c.DataDir, "proof", string(spec.Instance))) && len(proved) == 0 && begun.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		wait()
		time.Sleep(rand.N(80 * time.Millisecond))
		kill()
		_, kill, _ = keepertest.Start(t, c, "")
		if err := <-proved; err != nil {
			t.Fatal(err)
		}
	}
	checkNoProof(t, c)
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestRemovalEndsAProof: who removes an instance does not wait until its backup is restored, nor is the place of proofs
// left behind.
func TestRemovalEndsAProof(t *testing.T) {
	t.Parallel()
	c := backupConfig(t, 1)
	slow := &slowRestores{begun: make(chan struct{}, 1)}
	c.Engines["redis"] = slow
	b, _ := keepertest.Run(t, c)
	spec, _ := mustBackUpFirst(t, b)
	proved := make(chan error, 1)
	go func() {
		_, err := b.Prove(t.Context(), spec.Instance)
		proved <- err
	}()
	<-slow.begun
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	if err := <-proved; backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("the proof of what is removed: %v", err)
	}
	awaitGone(t, b, spec.Instance)
	left := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if last := left.List[len(left.List)-1]; !last.Final || left.Trouble() != "" {
		t.Errorf("what is left is %+v", left)
	}
	checkNoProof(t, c)
	if _, err := b.Prove(t.Context(), spec.Instance); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("the proof of what is gone: %v", err)
	}
}

// slowRestores is Redis, of which a restore takes as long as it may.
type slowRestores struct {
	redis.Engine
	begun chan struct{}
}

func (s *slowRestores) Restore(ctx context.Context, n engine.Node, _ backstay.Repository, _ engine.Point) error {
	if err := os.Mkdir(n.DataDir, 0o700); err != nil {
		return fmt.Errorf("begin a restore: %w", err)
	}
	s.begun <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// TestADisprovedBackupIsReplaced at once, though nothing is damaged of what was written: what cannot be restored is no
// backup. Where the one that stands in cannot be restored either, that is told, and no third one is taken.
func TestADisprovedBackupIsReplaced(t *testing.T) {
	t.Parallel()
	for _, spoiled := range []int64{1, 100} {
		t.Run(fmt.Sprint(spoiled), func(t *testing.T) {
			t.Parallel()
			c := backupConfig(t, 1)
			server := &spoiledRestores{}
			server.left.Store(spoiled)
			c.Engines["redis"] = server
			b, _ := keepertest.Run(t, c)
			spec, first := mustBackUpFirst(t, b)
			if p, err := b.Prove(t.Context(), spec.Instance); backstay.KindOf(err) != backstay.Invalid {
				t.Errorf("what cannot be restored is proved as %+v, %v", p, err)
			}
			mustAwaitBackups(t, b, spec.Instance, atLeast(2))
			kept := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
				return k.Proof.Backup != first.List[0].ID && k.Proof.Disproved == (spoiled > 1)
			})
			if spoiled == 1 && kept.Trouble() != "" {
				t.Errorf("what is made up for is told as %q", kept.Trouble())
			}
			if len(kept.List) != 2 {
				t.Errorf("there are %+v", kept.List)
			}
		})
	}
}

// spoiledRestores is Redis, of which some restores find that the backup is none.
type spoiledRestores struct {
	redis.Engine
	left atomic.Int64 // of them
}

func (s *spoiledRestores) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) error {
	if s.left.Add(-1) >= 0 {
		return backstay.Errorf(backstay.Invalid, "The server does not start from this backup.")
	}
	return s.Engine.Restore(ctx, n, r, to)
}

package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// backupConfig is that of a keeper of Redis with a repository.
func backupConfig(t *testing.T, room int) keeper.Config {
	t.Helper()
	c := keepertest.Config(t, room)
	c.Engines["redis"] = redis.Engine{}
	c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
	return c
}

// aheadConfig is the same for one instance, with a clock that goes ahead of the machine's by so many nanoseconds.
func aheadConfig(t *testing.T) (c keeper.Config, ahead *atomic.Int64) {
	t.Helper()
	c, ahead = backupConfig(t, 1), &atomic.Int64{}
	c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	return c, ahead
}

// backedUp wants an instance of Redis that is backed up.
func backedUp(t *testing.T) backend.Spec {
	t.Helper()
	spec := specOf(t, products[2])
	spec.Backup = &backend.BackupPolicy{
		Window: "02:30-03:00", Days: 7, Final: 35, Key: backstay.Secret(strings.Repeat("5a", 32)),
	}
	return spec
}

// awaitBackups returns what is kept of an instance once that is as wanted.
func awaitBackups(ctx context.Context, b *local.Backend, id backstay.InstanceID, wanted func(backend.Backups) bool) (
	kept backend.Backups, err error,
) {
	ctx, cancel := context.WithTimeout(ctx, longestWay)
	defer cancel()
	err = wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		kept, err = b.Backups(ctx, id)
		if backstay.KindOf(err) == backstay.NotFound {
			return true, err
		}
		if err == nil && !wanted(kept) {
			return true, fmt.Errorf("the backups are %+v", kept)
		}
		return false, err
	})
	return kept, err
}

func mustAwaitBackups(
	t *testing.T, b *local.Backend, id backstay.InstanceID, wanted func(backend.Backups) bool,
) backend.Backups {
	t.Helper()
	kept, err := awaitBackups(t.Context(), b, id, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func atLeast(n int) func(backend.Backups) bool {
	return func(kept backend.Backups) bool { return len(kept.List) >= n }
}

// mustBackUpFirst makes an instance of Redis, and returns it with what is kept of it once that is anything.
func mustBackUpFirst(t *testing.T, b *local.Backend) (backend.Spec, backend.Backups) {
	t.Helper()
	spec := backedUp(t)
	mustReach(t, b, spec)
	return spec, mustAwaitBackups(t, b, spec.Instance, atLeast(1))
}

// TestBackupsOutliveTheirInstance follows the backups of one instance: the first is taken at once, the next one when it
// is asked for or when the night has come, and the last one when the instance goes. They are known as long as one of
// them is kept, by the next keeper too, and by one that has lost the record.
func TestBackupsOutliveTheirInstance(t *testing.T) {
	t.Parallel()
	c, ahead := aheadConfig(t)
	b, stop := keepertest.Run(t, c)
	spec, first := mustBackUpFirst(t, b)
	if first.Engine != "redis" || first.Version != "7.0" || first.Trouble() != "" || first.List[0].Stored == 0 {
		t.Errorf("the first backup is kept as %+v", first)
	}
	spec.Generation, spec.Backups = 2, 1
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return len(k.List) == 2 && k.Asked == 1 })
	ahead.Store(int64(24 * time.Hour))
	mustAwaitBackups(t, b, spec.Instance, atLeast(3))

	stop()
	mustRemove(t, filepath.Join(c.DataDir, "keeper", "backups", string(spec.Instance)+".json"))
	b, stop = keepertest.Run(t, c)
	mustAwaitBackups(t, b, spec.Instance, atLeast(3))

	if err := b.Forget(t.Context(), spec.Instance); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("Forget of an instance that is there: %v", err)
	}
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	stop()
	b, _ = keepertest.Run(t, c)
	left := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if n := len(left.List); n < 4 || !left.List[n-1].Final || left.Until.Sub(left.Removed).Round(time.Hour) != 35*24*time.Hour {
		t.Errorf("what is left is %+v", left)
	}
	if all, err := b.AllBackups(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("all backups are %+v, %v", all, err)
	}
	mustBeForgotten(t, c, b, spec.Instance)
}

// TestOtherDataIsBackedUpAtOnce: after a return in place, which takes a backup of what was before, there is one of what
// is served now, too.
func TestOtherDataIsBackedUpAtOnce(t *testing.T) {
	t.Parallel()
	c := backupConfig(t, 1)
	b, _ := keepertest.Run(t, c)
	spec, kept := mustBackUpFirst(t, b)
	first := kept.List[0]
	spec.Generation = 2
	spec.Origin = &backend.Origin{
		Instance: spec.Instance, Key: spec.Backup.Key, Backup: first.ID, Alone: true, Return: 1,
	}
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, atLeast(3))
}

// TestPartedInstanceIsRemovedAgain: a ledger that does not know yet that an instance is gone tells the keeper of it, to
// have it removed. There is nothing to wait for then.
func TestPartedInstanceIsRemovedAgain(t *testing.T) {
	t.Parallel()
	c := backupConfig(t, 1)
	b, _ := keepertest.Run(t, c)
	spec, _ := mustBackUpFirst(t, b)
	reached, err := b.Await(t.Context(), spec.Instance, 0)
	if err != nil {
		t.Fatal(err)
	}
	spec.Served = &backend.Served{Endpoint: reached.Endpoint}
	for range 2 {
		if err := b.Remove(t.Context(), spec.Instance); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, b, spec.Instance)
		if err := b.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	if _, err := os.Stat(filepath.Join(c.DataDir, "kept")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data is kept, of which there is a last backup: %v", err)
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// mustBeForgotten has the backups of an instance removed, and looks for what is left.
func mustBeForgotten(t *testing.T, c keeper.Config, b *local.Backend, id backstay.InstanceID) {
	t.Helper()
	for range 2 {
		if err := b.Forget(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := b.Backups(t.Context(), id); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("after that: %+v, %v", kept, err)
	}
	checkNothingLeft(t, c)
	checkNoBackups(t, c)
}

// marks are what says which repository it is, there and here: that stays.
var marks = []string{"backstay-repository", ".half", "repository"}

// checkNoBackups gives a custodian that is about to look after backups the moment in which it finds that there are none.
func checkNoBackups(t *testing.T, c keeper.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		for _, dir := range []string{c.Repository.Dir, filepath.Join(c.DataDir, "keeper", "backups")} {
			entries, err := os.ReadDir(dir)
			entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(marks, e.Name()) })
			if err != nil || len(entries) > 0 {
				return true, fmt.Errorf("%s holds %v, %w; want nothing", dir, entries, err)
			}
		}
		return false, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBackupsEndWhenTheirTimeIsOver: the last one too.
func TestBackupsEndWhenTheirTimeIsOver(t *testing.T) {
	t.Parallel()
	c, ahead := aheadConfig(t)
	b, stop := keepertest.Run(t, c)
	spec, _ := mustBackUpFirst(t, b)
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	stop()
	ahead.Store(int64(34 * 24 * time.Hour))
	b, stop = keepertest.Run(t, c)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return len(k.List) == 1 && k.List[0].Final })
	stop()
	ahead.Store(int64(36 * 24 * time.Hour))
	b, _ = keepertest.Run(t, c)
	err := wait.Until(t.Context(), wait.Every(20*time.Millisecond), func() (again bool, err error) {
		_, err = b.Backups(t.Context(), spec.Instance)
		return err == nil, err
	})
	if backstay.KindOf(err) != backstay.NotFound {
		t.Fatal(err)
	}
	checkNoBackups(t, c)
}

// TestRepositoryThatIsAway keeps nobody from using the instance. Its removal waits, and says why, until the repository
// is back or somebody does without the last backup.
func TestRepositoryThatIsAway(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, c keeper.Config, b *local.Backend, id backstay.InstanceID) error{
		"back": func(t *testing.T, c keeper.Config, b *local.Backend, id backstay.InstanceID) error {
			return os.Rename(c.Repository.Dir+".away", c.Repository.Dir)
		},
		"discarded": func(t *testing.T, c keeper.Config, b *local.Backend, id backstay.InstanceID) error {
			return b.Discard(t.Context(), id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := backupConfig(t, 1)
			c.Repository.Dir = filepath.Join(t.TempDir(), "repository") // elsewhere no keeper makes it anew
			if err := os.Mkdir(c.Repository.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			b, stop := keepertest.Run(t, c)
			spec, _ := mustBackUpFirst(t, b)
			mustRename(t, c.Repository.Dir, c.Repository.Dir+".away")
			spec.Generation, spec.Backups = 2, 1
			mustReach(t, b, spec)
			failed := func(k backend.Backups) bool {
				return k.Asked == 1 && strings.Contains(k.Trouble(), "The last backup has failed") && k.Troubles[0].Kind == "backup"
			}
			mustAwaitBackups(t, b, spec.Instance, failed)
			stop()
			b, stop = keepertest.Run(t, c)
			if kept, err := b.Backups(t.Context(), spec.Instance); err != nil || !failed(kept) {
				t.Errorf("another keeper tells of %+v, %v", kept, err)
			}
			mustCredentials(t, b, spec.Instance)
			if err := b.Remove(t.Context(), spec.Instance); err != nil {
				t.Fatal(err)
			}
			waits := func(s backend.Status) bool {
				return s.Phase == backend.Removing && strings.Contains(s.Message, "The operator can remove the instance without it.")
			}
			until(t, b, spec.Instance, waits)
			stop()
			b, _ = keepertest.Run(t, c)
			until(t, b, spec.Instance, waits)
			if err := end(t, c, b, spec.Instance); err != nil {
				t.Fatal(err)
			}
			awaitGone(t, b, spec.Instance)
			left := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return !k.Removed.IsZero() })
			if last := left.List[len(left.List)-1]; last.Final != (name == "back") {
				t.Errorf("what is left is %+v", left)
			}
		})
	}
}

// TestDataIsKeptOfWhatCannotBeBackedUp: an engine that does not come up is removed all the same, and so is one without a
// repository.
func TestDataIsKeptOfWhatCannotBeBackedUp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"engine does not come up", "no repository", "image"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var needs atomic.Int64
			c, ahead := aheadConfig(t)
			data := "data"
			if name == "image" {
				data, c = "volume.img", keepertest.WithImages(t, 1)
				c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
			}
			c.Engines["redis"] = starving{needs: &needs}
			if name == "no repository" {
				c.Repository = backstay.Repository{}
			}
			b, stop := keepertest.Run(t, c)
			spec := backedUp(t)
			mustReach(t, b, spec)
			if name != "no repository" {
				needs.Store(int64(2 * spec.Size.Memory))
				mustKill(t, mustPID(t, b, spec.Instance))
				until(t, b, spec.Instance, failing)
			}
			if err := b.Remove(t.Context(), spec.Instance); err != nil {
				t.Fatal(err)
			}
			if name != "no repository" {
				time.Sleep(50 * time.Millisecond)
				ahead.Store(int64(2 * time.Minute))
			}
			awaitGone(t, b, spec.Instance)
			kept := filepath.Join(c.DataDir, "kept", string(spec.Instance))
			for _, file := range []string{"note.json", data} {
				if _, err := os.Stat(filepath.Join(kept, file)); err != nil {
					t.Error(err)
				}
			}
			checkNothingLeft(t, c)
			stop()
			ahead.Store(int64(36 * 24 * time.Hour))
			keepertest.Run(t, c)
			err := wait.Until(t.Context(), wait.Every(20*time.Millisecond), func() (again bool, err error) {
				_, err = os.Stat(kept)
				return err == nil, err
			})
			if !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		})
	}
}

// TestKeeperDiesBehindEveryBackupStep leads instances through their lives as TestKeeperDiesBehindEveryStep does, with
// backups. With the engines that take long for these, it is as many steps of chance as there are rounds.
func TestKeeperDiesBehindEveryBackupStep(t *testing.T) {
	t.Parallel()
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			steps := keeper.BackupStepNames()
			if p.engine != "redis" {
				if testing.Short() {
					t.Skip("takes some seconds")
				}
				steps = someOf(steps, min(*rounds, len(steps)))
			}
			t.Logf("behind %q", steps)
			c := only(p, everything(t))
			c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
			ctx, cancel := context.WithTimeout(t.Context(), 2*longestWay)
			defer cancel()
			spec := specOf(t, p)
			spec.Backup = backedUp(t).Backup
			dieBehindEach(t, c, steps, func(enough <-chan struct{}) error {
				return leadBackupsUntil(ctx, c, spec, enough)
			}, func(*keeper.Config, string) {})
			checkNoBackups(t, c)
		})
	}
}

// someOf returns so many of the names, by chance, in their order.
func someOf(names []string, count int) (some []string) {
	chosen := rand.Perm(len(names))[:count]
	slices.Sort(chosen)
	for _, i := range chosen {
		some = append(some, names[i])
	}
	return some
}

// only leaves a keeper nothing but the product's engine.
func only(p product, c keeper.Config) keeper.Config {
	maps.DeleteFunc(c.Engines, func(name string, _ engine.Engine) bool { return name != p.engine })
	return c
}

func leadBackupsUntil(ctx context.Context, c keeper.Config, spec backend.Spec, enough <-chan struct{}) error {
	for life := 0; ; life++ {
		spec.Instance = backstay.InstanceID(uuid.NewString())
		if err := leadBackups(ctx, c, spec, life%2 == 1); err != nil {
			return err
		}
		select {
		case <-enough:
			return nil
		default:
		}
	}
}

// leadBackups takes an instance through its life as far as backups are concerned.
func leadBackups(ctx context.Context, c keeper.Config, spec backend.Spec, discard bool) error {
	b := local.New(keepertest.Socket(c))
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if _, err := awaitBackups(ctx, b, spec.Instance, atLeast(1)); err != nil {
		return err
	}
	spec.Generation, spec.Backups = 2, 1
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	asked := func(k backend.Backups) bool { return k.Asked == 1 && len(k.List) >= 2 && k.Trouble() == "" }
	if _, err := awaitBackups(ctx, b, spec.Instance, asked); err != nil {
		return err
	}
	if p, err := b.Prove(ctx, spec.Instance); err != nil || p.Reason != "" {
		return fmt.Errorf("the newest backup is proved as %+v: %w", p, err)
	}
	if discard {
		err := b.Discard(ctx, spec.Instance)
		if err != nil && backstay.KindOf(err) != backstay.NotFound { // it was gone when the client asked once more
			return err
		}
	}
	if err := end(ctx, b, spec.Instance); err != nil {
		return err
	}
	left := func(k backend.Backups) bool {
		return !k.Removed.IsZero() && (discard || len(k.List) > 2 && k.List[len(k.List)-1].Final)
	}
	if _, err := awaitBackups(ctx, b, spec.Instance, left); err != nil {
		return err
	}
	return b.Forget(ctx, spec.Instance)
}

// TestAFailedBackupIsTriedAgain also where nobody asks for it again, and it is not the time for the night's.
func TestAFailedBackupIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := backupConfig(t, 1)
	c.Repository.Dir = filepath.Join(t.TempDir(), "repository")
	if err := os.Mkdir(c.Repository.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b, _ := keepertest.Run(t, c)
	spec := backedUp(t)
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, atLeast(1))
	mustRename(t, c.Repository.Dir, c.Repository.Dir+".away")
	spec.Generation, spec.Backups = 2, 1
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return k.Asked == 1 && k.Trouble() != "" })
	mustRename(t, c.Repository.Dir+".away", c.Repository.Dir)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return len(k.List) > 1 && k.Trouble() == "" })
}

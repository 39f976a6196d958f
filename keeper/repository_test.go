package keeper_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// elsewhere is backupConfig with a repository outside of the data directory: no keeper makes its directory anew.
func elsewhere(t *testing.T, room int) keeper.Config {
	t.Helper()
	c := backupConfig(t, room)
	c.Repository = backstay.Repository{Dir: filepath.Join(t.TempDir(), "repository")}
	if err := os.Mkdir(c.Repository.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNoRepositoryIsBegunInThePlaceOfOne: where the disk of the repository is not mounted there is an empty directory,
// which is as good as none. When the disk is back, all that was kept is known, and nothing was put beside it.
func TestNoRepositoryIsBegunInThePlaceOfOne(t *testing.T) {
	t.Parallel()
	c := elsewhere(t, 2)
	b, stop := keepertest.Run(t, c)
	spec, first := mustBackUpFirst(t, b)
	disk := c.Repository.Dir + ".disk"
	mustRename(t, c.Repository.Dir, disk)
	if err := os.Mkdir(c.Repository.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	spec.Generation, spec.Backups = 2, 1
	mustReach(t, b, spec)
	away := func(k backend.Backups) bool {
		return k.Asked == 1 && strings.Contains(k.Trouble(), "Is its disk mounted?")
	}
	mustAwaitBackups(t, b, spec.Instance, away)
	stop()
	b, _ = keepertest.Run(t, c)
	copied := specOf(t, products[2])
	copied.Origin = &backend.Origin{Instance: spec.Instance, Key: spec.Backup.Key, Alone: true}
	if err := b.Apply(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	until(t, b, copied.Instance, func(s backend.Status) bool { return strings.Contains(s.Message, "Is its disk mounted?") })
	if kept := mustAwaitBackups(t, b, spec.Instance, away); len(kept.List) != 1 || kept.List[0].Damaged != "" {
		t.Errorf("while the disk is away, there is %+v", kept)
	}
	if left, err := os.ReadDir(c.Repository.Dir); len(left) > 0 || err != nil {
		t.Errorf("in the place of the disk there is %v, %v", left, err)
	}
	mustRemove(t, c.Repository.Dir)
	mustRename(t, disk, c.Repository.Dir)
	kept := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return len(k.List) > 1 && k.Trouble() == "" })
	if kept.List[0].ID != first.List[0].ID || kept.List[0].Damaged != "" {
		t.Errorf("when the disk is back, there is %+v, and was %+v", kept, first)
	}
	mustReach(t, b, copied)
}

// TestAnotherRepositoryIsBegunWhereSomebodySaysSo, and only then. What is kept until then is gone, and made up for.
func TestAnotherRepositoryIsBegunWhereSomebodySaysSo(t *testing.T) {
	t.Parallel()
	c := elsewhere(t, 1)
	others := elsewhere(t, 1)
	b, stop := keepertest.Run(t, others)
	mustBackUpFirst(t, b)
	stop()
	b, stop = keepertest.Run(t, c)
	spec, first := mustBackUpFirst(t, b)
	stop()

	c.Repository = others.Repository
	b, _ = keepertest.Run(t, c)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
		return strings.Contains(k.Trouble(), "belongs to another Backstay") && len(k.List) == 1 && k.List[0].Damaged == ""
	})
	if isNew, err := keeper.BeginRepository(t.Context(), c.DataDir, c.Repository); isNew || err != nil {
		t.Fatalf("another Backstay's is begun: %v, %v", isNew, err)
	}
	kept := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
		return len(k.List) > 1 && k.List[len(k.List)-1].Damaged == ""
	})
	if kept.List[0].ID != first.List[0].ID || !strings.Contains(kept.List[0].Damaged, "gone from the repository") {
		t.Errorf("what was in the repository before is told as %+v", kept.List[0])
	}
}

// TestARepositoryOfAnotherIsNotTaken by a Backstay that has had none. One of an earlier version, which carries no
// identity, is taken by the one whose backups are in it, and by no other place in its stead.
func TestARepositoryOfAnotherIsNotTaken(t *testing.T) {
	t.Parallel()
	c := elsewhere(t, 1)
	b, stop := keepertest.Run(t, c)
	spec, _ := mustBackUpFirst(t, b)
	stop()

	fresh := backupConfig(t, 1)
	fresh.Repository = c.Repository
	b, stop = keepertest.Run(t, fresh)
	other := backedUp(t)
	mustReach(t, b, other)
	mustAwaitBackups(t, b, other.Instance, func(k backend.Backups) bool {
		return strings.Contains(k.Trouble(), "belongs to another Backstay")
	})
	stop()
	if _, err := os.Stat(filepath.Join(c.Repository.Dir, string(other.Instance))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a part of the new one in it: %v", err)
	}

	mustRemove(t, filepath.Join(c.DataDir, "keeper", "backups", "repository")) // as an earlier version has left it
	mustRemove(t, filepath.Join(c.Repository.Dir, "backstay-repository"))
	meant := c.Repository.Dir
	c.Repository.Dir = t.TempDir()
	b, stop = keepertest.Run(t, c)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
		return strings.Contains(k.Trouble(), "Is its disk mounted?")
	})
	stop()
	c.Repository.Dir = meant
	b, _ = keepertest.Run(t, c)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return k.Trouble() == "" && len(k.List) > 0 })
	if identity, err := keeper.RepositoryIdentity(c.DataDir); identity == "" || err != nil {
		t.Errorf("it has the identity %q, %v", identity, err)
	}
}

// TestExpiryLearns of backups that are in the repository and not in the record, as one that was restored from an older
// copy, before it removes any.
func TestExpiryLearns(t *testing.T) {
	t.Parallel()
	c := elsewhere(t, 1)
	b, stop := keepertest.Run(t, c)
	spec, _ := mustBackUpFirst(t, b)
	record := filepath.Join(c.DataDir, "keeper", "backups", string(spec.Instance)+".json")
	older, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(count int64) {
		spec.Generation, spec.Backups = count+1, count
		mustReach(t, b, spec)
		mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return k.Asked == count && k.Trouble() == "" })
	}
	ask(1)
	second := mustAwaitBackups(t, b, spec.Instance, atLeast(2)).List[1].ID
	stop()
	if err := os.WriteFile(record, older, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(c.Repository.Dir, string(spec.Instance), second+"*"))
	if len(files) == 0 || err != nil {
		t.Fatalf("the second backup has no file: %v", err)
	}
	for _, file := range files {
		mustRename(t, file, file+".aside") // as of a repository that shows it late
	}
	b, _ = keepertest.Run(t, c)
	ask(2)
	for _, file := range files {
		mustRename(t, file+".aside", file)
	}
	ask(3)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool {
		return slices.ContainsFunc(k.List, func(b backstay.Backup) bool { return b.ID == second && b.Damaged == "" })
	})
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("the backup that was not in the record: %v", err)
		}
	}
}

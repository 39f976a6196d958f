package keeper_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestBackupsAreLearned of an instance that was removed, by a keeper that has nothing but their repository.
func TestBackupsAreLearned(t *testing.T) {
	t.Parallel()
	lost := backupConfig(t, 1)
	b, stop := keepertest.Run(t, lost)
	spec, _ := mustBackUpFirst(t, b)
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	was := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return !k.Removed.IsZero() })
	stop()

	c := backupConfig(t, 1)
	c.Repository = lost.Repository
	b, stop = keepertest.Run(t, c)
	left := backend.Legacy{
		Instance: spec.Instance, Engine: "redis", Version: "7.0", Policy: *spec.Backup, Removed: was.Removed, Until: was.Until,
	}
	other := left
	other.Instance = "11111111-35b6-4e59-b6c3-3590f7c7abf6"
	if err := b.Learn(t.Context(), other); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("of an instance that has left nothing: %v", err)
	}
	other = left
	other.Policy.Key = backstay.Secret(strings.Repeat("a5", 32))
	if err := b.Learn(t.Context(), other); err == nil {
		t.Error("with another key backups are learned all the same")
	}
	if err := b.Learn(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	stop()
	b, _ = keepertest.Run(t, c)
	now := mustAwaitBackups(t, b, spec.Instance, atLeast(1))
	same := func(x, y backstay.Backup) bool { return x.ID == y.ID && x.Final == y.Final }
	if !slices.EqualFunc(was.List, now.List, same) || !now.Until.Equal(was.Until) || !now.Removed.Equal(was.Removed) {
		t.Errorf("what is learned is\n%+v, and was\n%+v", now, was)
	}
	left.Until = was.Removed
	if err := b.Learn(t.Context(), left); err != nil { // what is known stays
		t.Fatal(err)
	}
	copied := specOf(t, products[2])
	copied.Origin = &backend.Origin{Instance: spec.Instance, Key: left.Policy.Key, Alone: true}
	mustReach(t, b, copied)
}

// TestBackupsWithoutRecordOutliveTheirInstance: of an instance that is removed before it has served here, as on a new
// machine, the backups are kept that lie in the repository.
func TestBackupsWithoutRecordOutliveTheirInstance(t *testing.T) {
	t.Parallel()
	lost := backupConfig(t, 1)
	b, stop := keepertest.Run(t, lost)
	spec, first := mustBackUpFirst(t, b)
	reached, err := b.Await(t.Context(), spec.Instance, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop()

	c := backupConfig(t, 1)
	c.Repository = lost.Repository
	b, _ = keepertest.Run(t, c)
	spec.Served = &backend.Served{Endpoint: reached.Endpoint}
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := b.Discard(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	left := mustAwaitBackups(t, b, spec.Instance, atLeast(1))
	if left.Removed.IsZero() || left.List[0].ID != first.List[0].ID {
		t.Errorf("what is left is %+v, and was %+v", left, first)
	}
}

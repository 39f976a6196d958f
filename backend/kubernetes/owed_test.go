package kubernetes_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestOwedNoteIsKilled removes an instance without its last backup while the object store is away, and kills the
// platform then, twice: what its backups are of is noted beside them all the same, and nothing is left in the cluster.
func TestOwedNoteIsKilled(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30480, 30489)
	a.stop()
	c := a.config(t, 30480, 30489)
	c.Repository = a.repository
	b, stop := run(t, c)
	a.Backend = b
	s := a.spec(t)
	if err := a.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removed(t, a.Backend, s.Instance) }) // by the one that lives then
	first := a.backedUp(t, s.Instance)
	a.objects.Pause()
	defer a.objects.Resume()
	if err := a.Discard(t.Context(), s.Instance); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the instance", func(ctx context.Context) (bool, error) {
		_, err := a.Await(ctx, s.Instance, 0)
		return backstay.KindOf(err) == backstay.NotFound, nil
	})
	kill := func() {
		stop()
		a.Backend, stop = run(t, c)
	}
	owed := func() string {
		return a.cluster.Kubectl(t, "get", "secrets", "-n", a.namespace, "-l", "backstay/owed", "-o", "name")
	}
	kill()
	if all := owed(); !strings.Contains(all, string(s.Instance)) {
		t.Fatalf("what is owed is in no Secret: %q", all)
	}
	kill()
	a.objects.Resume()
	left := a.kept(t, s.Instance, "the note", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if len(left.List) != len(first.List) || left.List[0].ID != first.List[0].ID || left.Until.Before(time.Now()) {
		t.Errorf("beside the backups is noted %+v, want %+v", left, first)
	}
	await(t, "the end of what is owed", func(context.Context) (bool, error) { return owed() == "", nil })
}

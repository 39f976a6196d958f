package kubernetes_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestReturnIsKilled kills the platform again and again while an instance returns to an earlier moment, and while it is
// deleted: both come true, with the last backup taken once.
func TestReturnIsKilled(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30380, 30389)
	a.stop()
	c := a.config(t, 30380, 30389)
	c.Repository = a.repository
	b, stop := run(t, c)
	a.Backend = b
	killed := func(what string, over func() bool) {
		t.Helper()
		longest, deadline := 2*time.Second, time.Now().Add(limit)
		for kills := 0; ; kills++ {
			time.Sleep(rand.N(longest))
			if over() {
				t.Logf("after %d kills there is an end of %s", kills, what)
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %d kills there is no end of %s", kills, what)
			}
			longest += time.Second // so that it gets on in the end
			stop()
			a.Backend, stop = run(t, c)
		}
	}
	s := a.spec(t)
	if err := a.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removed(t, a.Backend, s.Instance) }) // by the one that lives then
	a.backedUp(t, s.Instance)
	do(t, a.bound(t, s.Instance, "u1"), "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	time.Sleep(time.Second)
	at := time.Now().Truncate(time.Second)
	time.Sleep(100 * time.Millisecond)
	do(t, a.bound(t, s.Instance, "u1"), "INSERT INTO t VALUES (2)")
	s.Generation = 2
	s.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey, At: at, Return: 1}
	if err := a.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	killed("the return", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		st, err := a.Await(ctx, s.Instance, 0)
		return err == nil && st.Phase == backend.Running && st.Generation == 2
	})
	if got := numbers(t, a.bound(t, s.Instance, "u2")); !slices.Equal(got, []int{1}) {
		t.Errorf("it returned to %v", got)
	}
	if err := a.Remove(t.Context(), s.Instance); err != nil {
		t.Fatal(err)
	}
	killed("the end", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := a.Await(ctx, s.Instance, 0)
		return backstay.KindOf(err) == backstay.NotFound
	})
	left := a.kept(t, s.Instance, "its end", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	finals := 0
	for _, one := range left.List {
		if one.Final {
			finals++
		}
	}
	if finals != 1 || !left.List[len(left.List)-1].Final {
		t.Errorf("of what was removed is kept %+v", left)
	}
}

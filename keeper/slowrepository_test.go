package keeper_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestRepositoryThatIsSlow holds up nobody but backups: while each of its answers takes a second, and a backup is under
// way, the instance serves, is bound to and unbound from, gets another plan, is restarted, and ends.
func TestRepositoryThatIsSlow(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c, slow := only(p, everything(t)), testkit.ObjectStore(t).Slow(t)
			c.Repository = backstay.Repository{Objects: &slow.ObjectStore}
			b, _ := keepertest.Run(t, c)
			spec := specOf(t, p)
			spec.Backup = backedUp(t).Backup
			mustReach(t, b, spec)
			mustAwaitBackups(t, b, spec.Instance, atLeast(1))
			slow.Delay(time.Second)
			stop := probe(t, p, mustCredentials(t, b, spec.Instance))
			quickly := func(what string, do func()) {
				t.Helper()
				began := time.Now()
				do()
				if took := time.Since(began); took > slowest {
					t.Errorf("%s took %v", what, took)
				}
			}
			reach := func(change func()) func() {
				return func() {
					change()
					spec.Generation++
					mustReach(t, b, spec)
				}
			}
			quickly("to ask for a backup", reach(func() { spec.Backups++ }))
			underWay := func(k backend.Backups) bool { return k.Running }
			mustAwaitBackups(t, b, spec.Instance, underWay)
			quickly("to bind and to unbind", func() {
				user := backend.User{Name: "u2", Password: "correcthorsebatterystaple"}
				if _, err := b.CreateUser(t.Context(), spec.Instance, user); err != nil {
					t.Fatal(err)
				}
				if err := b.DropUser(t.Context(), spec.Instance, user.Name); err != nil {
					t.Fatal(err)
				}
			})
			mustAwaitBackups(t, b, spec.Instance, underWay)
			quickly("another plan", reach(func() { spec.Size.Connections = 90 }))
			quickly("a restart", reach(func() { spec.Restarts++ }))
			if seen := stop(); seen.writes == 0 {
				t.Errorf("a client sees %+v", seen)
			}
			quickly("the end", func() {
				if err := b.Discard(t.Context(), spec.Instance); err != nil {
					t.Fatal(err)
				}
				awaitGone(t, b, spec.Instance)
			})
		})
	}
}

// slowest is what anything may take that has nothing to do with the repository, on a machine that has much to do.
const slowest = 20 * time.Second

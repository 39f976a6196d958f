package keeper_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// mustPair makes a pair, and begins to write as its clients do. The function returned ends that, and looks for what was
// acknowledged.
func mustPair(t *testing.T, b *local.Backend, p product) (spec backend.Spec, j *journal, end func()) {
	t.Helper()
	spec = specOf(t, p)
	spec.Nodes = 2
	mustApplySpec(t, b, spec)
	until(t, b, spec.Instance, isProtected)
	credentials := mustCredentials(t, b, spec.Instance)
	if err := add(t.Context(), p, credentials, 0); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	j = &journal{}
	for range 4 {
		clients.Go(func() { j.keep(ctx, p, credentials) })
	}
	return spec, j, func() {
		stop()
		clients.Wait()
		checkNoted(t, p, credentials, j)
	}
}

// mustSwitchOver makes a Spec what is wanted of a pair that is protected, and fails unless it is reached by a switchover.
func mustSwitchOver(t *testing.T, b *local.Backend, j *journal, spec backend.Spec, what string) {
	t.Helper()
	before := until(t, b, spec.Instance, isProtected)
	time.Sleep(time.Second) // in which clients write
	began := time.Now()
	mustApplySpec(t, b, spec)
	s := untilWithin(t, 4*limit, b, spec.Instance, func(s backend.Status) bool {
		return running(s) && s.Generation == spec.Generation
	})
	if s.Nodes[0].Name == before.Nodes[0].Name || s.Failover == nil || !s.Failover.Planned {
		t.Errorf("%s: the primary was started again in its place: %+v, %+v", what, s.Nodes, s.Failover)
		return
	}
	until(t, b, spec.Instance, isProtected)
	t.Logf("%s: %v without an acknowledgement; %s Took %v", what, j.longest(began), s.Failover.Why, s.Failover.Took)
}

// restarting are settings that take a restart. Redis has none.
var restarting = map[string]string{
	"postgres": `{"settings": {"autovacuum_max_workers": 6}}`,
	"mysql":    `{"settings": {"innodb_ft_min_token_size": 2}}`,
}

// TestPairRestartsByASwitchover: whatever takes a restart of an instance of two takes one of the standby, which then takes
// over. What clients were told is committed is there.
func TestPairRestartsByASwitchover(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec, j, stop := mustPair(t, b, p)
		if settings := restarting[p.engine]; settings != "" {
			spec.Generation, spec.Settings = 2, json.RawMessage(settings)
			mustSwitchOver(t, b, j, spec, "parameters")
		}

		spec.Generation, spec.Restarts = 3, 1
		mustSwitchOver(t, b, j, spec, "a reboot")
		pid := mustPID(t, b, spec.Instance)
		spec.Generation, spec.Size.Storage = 4, 2*spec.Size.Storage
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, func(s backend.Status) bool { return isProtected(s) && s.Generation == 4 })
		if mustPID(t, b, spec.Instance) != pid {
			t.Error("a restart or settings that are in force have ended what serves once more")
		}

		if p.engine == "postgres" { // with which a larger plan takes a restart
			smaller := spec.Size
			spec.Generation, spec.Size.Connections, spec.Size.Memory = 5, 2*smaller.Connections, 2*smaller.Memory
			mustSwitchOver(t, b, j, spec, "a larger plan")
			before := until(t, b, spec.Instance, isProtected)
			spec.Generation, spec.Size = 6, smaller
			mustApplySpec(t, b, spec)
			s := untilWithin(t, 4*limit, b, spec.Instance, func(s backend.Status) bool {
				return isProtected(s) && s.Generation == 6
			})
			if s.Nodes[0].Name != before.Nodes[0].Name {
				t.Error("the standby came first to a smaller plan, and must have the room that the primary has")
			}
		}
		stop()
		if err := end(t.Context(), b, spec.Instance); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSwitchoverRefusesNobody: clients that come while a primary ends wait for the next one. Of one that comes again and
// again, a connection at most was made already when the others are held.
func TestSwitchoverRefusesNobody(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Nodes = 2
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, isProtected)
		credentials := mustCredentials(t, b, spec.Instance)
		ctx, stop := context.WithCancel(t.Context())
		var client sync.WaitGroup
		var refused []error
		client.Go(func() {
			for ctx.Err() == nil {
				w, err := p.open(ctx, credentials)
				switch {
				case err == nil:
					w.close()
				case ctx.Err() == nil:
					refused = append(refused, err)
				}
			}
		})
		spec.Generation, spec.Restarts = 2, 1
		mustApplySpec(t, b, spec)
		s := untilWithin(t, 4*limit, b, spec.Instance, func(s backend.Status) bool {
			return running(s) && s.Generation == spec.Generation
		})
		stop()
		client.Wait()
		if s.Failover == nil {
			t.Error("there was no switchover")
		}
		if t.Logf("refused: %v", refused); len(refused) > 1 {
			t.Errorf("%d connections were refused", len(refused))
		}
	})
}

// TestPairRestartsWithoutItsStandby: one that does not come up with what is wanted is not waited for.
func TestPairRestartsWithoutItsStandby(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	c := keepertest.Config(t, 3)
	b, _ := keepertest.Run(t, c)
	spec, _, stop := mustPair(t, b, products[0])
	home := string(instance.Homes(spec.Instance)[1])
	if err := os.Remove(filepath.Join(c.DataDir, "instances", home, "data", "global", "pg_control")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	spec.Generation, spec.Restarts = 2, 1
	mustApplySpec(t, b, spec)
	until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Generation == 2 })
	t.Logf("the primary was started again after %v", time.Since(began))
	s := untilWithin(t, 4*limit, b, spec.Instance, isProtected)
	if s.Failover != nil || s.Nodes[0].Name != "1" {
		t.Errorf("a standby without data has taken over: %+v, %+v", s.Nodes, s.Failover)
	}
	stop()
}

// TestPairTakesABuildByASwitchover: the standby runs from the newer build first.
func TestPairTakesABuildByASwitchover(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	u := newUpgrade(t)
	b, kill, _ := keepertest.Start(t, u.Config, "")
	spec, j, stop := mustPair(t, b, products[0])
	testkit.Install(t, u.newerRoot, u.usr)
	awaitInstalled(t, b, u.newer)
	spec.Generation, spec.Build = 2, u.newer
	mustSwitchOver(t, b, j, spec, "a newer build")
	stop()
	serves(t, b, spec.Instance, 2, u.newer)
	wantVersion(t, b, spec.Instance, u.newer)
	kill()
	b, _, _ = keepertest.Start(t, u.Config, "")
	until(t, b, spec.Instance, isProtected)
	wantVersion(t, b, spec.Instance, u.newer)
}

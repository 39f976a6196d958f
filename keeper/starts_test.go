package keeper

import (
	"context"
	"math/rand/v2"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/keeper/wire"
)

// TestStartsTakeTurns has instances come up that take random times, some of them for ever, beside a control plane that
// does so too: none before our own databases, few at a time until the control plane is up, and every one soon.
func TestStartsTakeTurns(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for range 25 {
		synctest.Test(t, func(t *testing.T) { tryStarts(t, chance) })
	}
}

func tryStarts(t *testing.T, chance *rand.Rand) {
	ctx, cancel := context.WithCancel(t.Context())
	s, began := newStarts(), time.Now()
	go s.bound(ctx)
	ours := time.Duration(chance.IntN(int(headStart)))
	controlPlane := ours + time.Duration(chance.IntN(int(2*turnsLimit)))
	time.AfterFunc(ours, func() { close(s.ours) })
	time.AfterFunc(controlPlane, s.end)
	last := min(controlPlane, ours+turnsLimit)
	var all sync.WaitGroup
	var coming, most, late atomic.Int64
	for range chance.IntN(400) {
		needs := time.Duration(chance.IntN(int(2 * turnLimit)))
		if chance.IntN(10) == 0 {
			needs = time.Hour
		}
		all.Go(func() {
			s.take(ctx, func(ctx context.Context) {
				most.Store(max(most.Load(), coming.Add(1)))
				defer coming.Add(-1)
				select {
				case <-time.After(needs):
				case <-ctx.Done():
				}
			})
			if took := time.Since(began); took < ours || took > last {
				late.Add(1)
			}
		})
	}
	all.Wait()
	cancel()
	synctest.Wait()
	if late.Load() > 0 {
		t.Errorf("%d begin before our own are up after %v, or after the turns end at %v", late.Load(), ours, last)
	}
	if most.Load() > int64(cap(s.turns)) {
		t.Errorf("%d come up at once", most.Load())
	}
	if len(s.turns) != 0 {
		t.Errorf("%d turns are never given back", len(s.turns))
	}
}

// TestControlPlaneEndsTheTurns by what it asks first when it is up, and by nothing that it asks on the way up.
func TestControlPlaneEndsTheTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(Config{NoLimits: true})
		close(k.starts.ours)
		var begun atomic.Int64
		for range 10 * cap(k.starts.turns) {
			go func() {
				k.starts.take(t.Context(), func(ctx context.Context) { <-ctx.Done() })
				begun.Add(1)
			}()
		}
		for _, ask := range []struct {
			path  string
			begun int
		}{
			{wire.KeeperPath, cap(k.starts.turns)},
			{wire.InstancePath("state"), cap(k.starts.turns)},
			{wire.AdminPath("state"), cap(k.starts.turns)},
			{wire.HeldPath, 10 * cap(k.starts.turns)},
			{wire.HeldPath, 10 * cap(k.starts.turns)},
		} {
			k.routes().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", ask.path, nil))
			synctest.Wait()
			if begun.Load() != int64(ask.begun) {
				t.Errorf("%d instances have begun after %s, want %d", begun.Load(), ask.path, ask.begun)
			}
		}
	})
}

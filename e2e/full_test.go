package e2e

import (
	"context"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestFullRedis has an app take all connections of a Redis, which keeps none free for its operator, and go on
// asking for more: it can be unbound and bound again, also by a keeper that finds it full.
func TestFullRedis(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	l := settled(t, redisBreed)
	for _, killed := range []bool{false, true} {
		held, giveUp := l.leak()
		if killed {
			l.killKeeper()
		}
		l.unbind()
		for _, s := range held() {
			if s.Kept(t.Context()) == nil {
				t.Fatal("a session goes on though its binding is gone")
			}
		}
		l.bind()
		giveUp()
		l.keep()
		if op := l.outcome("/v3/service_instances?guids=" + l.instance); op.Type != "create" || op.State != "succeeded" {
			t.Errorf("the instance is said to be %+v", op)
		}
	}
}

// leak takes connections until one is refused, and from then on whatever it can get, until giveUp.
func (l *life) leak() (held func() []session, giveUp func()) {
	l.t.Helper()
	var mu sync.Mutex
	var all []session
	held = func() []session {
		mu.Lock()
		defer mu.Unlock()
		return all[:len(all):len(all)]
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	credentials := l.credentials
	take := func() bool {
		s, err := l.open(ctx, credentials)
		if err != nil {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return true
	}
	var clients sync.WaitGroup
	giveUp = sync.OnceFunc(func() {
		cancel()
		clients.Wait()
		for _, s := range held() {
			s.Close() // most of them have been ended
		}
	})
	l.t.Cleanup(giveUp)
	for take() {
	}
	l.t.Logf("the app holds %d connections", len(held()))
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				take()
			}
		})
	}
	return held, giveUp
}

package enginetest

import (
	"context"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testFull creates and drops users while an app holds all connections and goes on asking for more.
func testFull(t *testing.T, s Subject) {
	n := s.newNode(t)
	n.Size.Connections = 8
	Serve(t, s.Engine, n)
	greedy, other := newUser(), newUser()
	a := s.besiege(t, n, s.createUser(t, n, greedy))
	for range 5 {
		if err := s.Engine.Probe(t.Context(), n); err != nil {
			t.Errorf("a full node is said not to serve: %v", err)
		}
		s.createUser(t, n, other)
		mustDrop(t, s, n, other)
	}
	credentials := s.createUser(t, n, other)
	mustDrop(t, s, n, greedy)
	for _, c := range a.held() {
		if err := c.Set(t.Context(), "k", "v"); err == nil {
			t.Error("a session goes on though its user is gone")
		}
	}
	a.giveUp()
	s.session(t, credentials, func(c Session) { mustSet(t, c, "k", "v") })
}

// siege is an app that takes all the connections that it can get.
type siege struct {
	mu       sync.Mutex
	sessions []Session
	giveUp   func() // and give back
}

// besiege opens sessions until the app is refused another one. From then on several clients go on asking for more.
func (s Subject) besiege(t *testing.T, n engine.Node, c backstay.Credentials) *siege {
	t.Helper()
	a := &siege{}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	a.giveUp = sync.OnceFunc(func() {
		cancel()
		clients.Wait()
		for _, session := range a.held() {
			session.Close() // it may have been ended
		}
	})
	t.Cleanup(a.giveUp)
	for a.take(ctx, s, c) {
	}
	if got := len(a.held()); got < n.Size.Connections {
		t.Fatalf("one user gets %d sessions, want the plan's %d", got, n.Size.Connections)
	}
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				a.take(ctx, s, c)
			}
		})
	}
	return a
}

func (a *siege) take(ctx context.Context, s Subject, c backstay.Credentials) bool {
	session, err := s.Connect(ctx, c)
	if err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions = append(a.sessions, session)
	return true
}

// held returns the sessions that the app has got. Some of them may have been ended.
func (a *siege) held() []Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[:len(a.sessions):len(a.sessions)]
}

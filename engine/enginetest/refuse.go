package enginetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Refusing is how users meet a node that refuses what they write.
type Refusing struct {
	// Delete deletes all keys, in the way that MakingRoom tells.
	Delete func(context.Context, Session) error
	// Bulk is one statement that writes for many minutes. It is nil where nothing can hold a server up for so long.
	Bulk func(context.Context, Session) error
}

// refuser is an engine whose nodes can refuse what clients write, or skips the test.
func (s Subject) refuser(t *testing.T) engine.Refuser {
	t.Helper()
	r, ok := s.Engine.(engine.Refuser)
	if !ok {
		t.Skip("this engine's nodes refuse nothing")
	}
	return r
}

func mustRefuse(t *testing.T, r engine.Refuser, n engine.Node, w engine.Writes) {
	t.Helper()
	if err := r.RefuseWrites(t.Context(), n, w); err != nil {
		t.Fatalf("RefuseWrites(%v): %v", w, err)
	}
}

// wantWritesRefused wants a new session to read the key, and not to change it.
func (s Subject) wantWritesRefused(t *testing.T, c backstay.Credentials, key, value string) {
	t.Helper()
	s.session(t, c, func(c Session) {
		if err := c.Set(t.Context(), key, "changed"); err == nil {
			t.Error("a node that refuses what clients write lets one write")
		}
		wantValue(t, c, key, value)
	})
}

func (s Subject) wantWrites(t *testing.T, c backstay.Credentials, key, value string) {
	t.Helper()
	s.session(t, c, func(c Session) { mustSet(t, c, key, value); wantValue(t, c, key, value) })
}

// testRefuse has a node refuse what clients write: it is read and administered, sessions that were there do not write
// either, and whoever makes room may.
func testRefuse(t *testing.T, s Subject) {
	r := s.refuser(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	early, err := s.Connect(t.Context(), credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	mustSet(t, early, "k", "v")
	mustRefuse(t, r, n, engine.AnyWrites)
	mustSet(t, early, "k", "v")

	mustRefuse(t, r, n, engine.FewWrites)
	if err := early.Set(t.Context(), "k", "changed"); err == nil {
		t.Error("a session that was there before writes")
	}
	s.wantWritesRefused(t, credentials, "k", "v")
	s.administerRefusing(t, n)
	s.session(t, credentials, func(c Session) {
		if err := s.Refusing.Delete(t.Context(), c); err != nil {
			t.Errorf("a user who makes room is refused: %v", err)
		}
		if got, err := c.Get(t.Context(), "k"); err == nil && got != "" {
			t.Errorf("what was deleted is there: %q", got)
		}
	})
	mustRefuse(t, r, n, engine.AnyWrites)
	s.wantWrites(t, credentials, "k", "w")
}

// administerRefusing does with a node that refuses what clients write everything that is done with any other.
func (s Subject) administerRefusing(t *testing.T, n engine.Node) {
	t.Helper()
	u := newUser()
	for what, err := range s.administer(t, n, u, patience) {
		if err != nil {
			t.Errorf("of a node that refuses what clients write, %s: %v", what, err)
		}
	}
	s.wantWritesRefused(t, s.createUser(t, n, u), "k", "v")
	mustDrop(t, s, n, u)
	full := n
	full.Full = true
	if reloader, ok := s.Engine.(engine.Reloader); ok {
		if _, err := reloader.Reload(t.Context(), full); err != nil {
			t.Errorf("Reload: %v", err)
		}
	}
	if _, ok := s.Engine.(engine.Archiver); ok {
		a := s.archiver(t)
		a.mustBackup(t, n)
		a.mustArchive(t, n)
	}
	if err := configure(t.Context(), s.Engine, full); err != nil {
		t.Errorf("Configure: %v", err)
	}
	s.wantWritesRefused(t, s.createUser(t, n, u), "k", "v")
	mustDrop(t, s, n, u)
}

// testRefusedFromTheStart starts a node that is full: it refuses before anybody asks it to, also when it was killed.
func testRefusedFromTheStart(t *testing.T, s Subject) {
	r := s.refuser(t)
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	s.wantWrites(t, credentials, "k", "v")
	p.Kill(t)
	full := n
	full.Full = true
	p = Serve(t, s.Engine, full)
	s.wantWritesRefused(t, credentials, "k", "v")
	mustRefuse(t, r, full, engine.NoWrites)
	s.wantWritesRefused(t, credentials, "k", "v")
	p.Stop(t)
	Serve(t, s.Engine, n)
	s.wantWrites(t, credentials, "k", "w")
	mustRefuse(t, r, n, engine.AnyWrites)
	s.wantWrites(t, credentials, "k", "x")
}

// testRefuseBulk interrupts a statement that has been writing, and, without a word of who writes nevertheless, one that
// a user has begun since.
func testRefuseBulk(t *testing.T, s Subject) {
	r := s.refuser(t)
	if s.Refusing.Bulk == nil {
		t.Skip("this engine has no such statements")
	}
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	s.wantWrites(t, credentials, "k", "v")
	s.session(t, credentials, func(c Session) {
		ended := make(chan error, 1)
		go func() { ended <- s.Refusing.Bulk(t.Context(), c) }()
		await(t, "statement that is interrupted", func() bool {
			mustRefuse(t, r, n, engine.FewWrites)
			select {
			case err := <-ended:
				if err == nil {
					t.Error("a statement that writes is not interrupted")
				}
				return true
			default:
				return false
			}
		})
	})
	s.wantWritesRefused(t, credentials, "k", "v")
	mustRefuse(t, r, n, engine.AnyWrites)
	s.wantWrites(t, credentials, "k", "w")
}

// testRefuseAgainAndAgain refuses and allows while clients write and come and go. What they were told is written is
// there, and in the end all can write.
func testRefuseAgainAndAgain(t *testing.T, s Subject) {
	r := s.refuser(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	s.wantWrites(t, credentials, "k", "v")
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 3 {
		clients.Go(func() { s.writeOn(ctx, t, credentials, fmt.Sprint("client", i)) })
	}
	for range 3 {
		for _, w := range []engine.Writes{engine.FewWrites, engine.NoWrites, engine.FewWrites, engine.AnyWrites} {
			mustRefuse(t, r, n, w)
		}
	}
	cancel()
	clients.Wait()
	s.wantWrites(t, credentials, "k", "w")
}

// writeOn writes until ctx ends, whatever it is answered. In the end the key has the last value that was acknowledged,
// or a later one.
func (s Subject) writeOn(ctx context.Context, t *testing.T, c backstay.Credentials, key string) {
	acknowledged, tried := 0, 0
	for ctx.Err() == nil {
		session, err := s.Connect(t.Context(), c)
		for err == nil && ctx.Err() == nil {
			tried++
			if err = session.Set(t.Context(), key, fmt.Sprint(tried)); err == nil {
				acknowledged = tried
			}
		}
		if session != nil {
			session.Close()
		}
	}
	if acknowledged == 0 {
		return
	}
	s.session(t, c, func(session Session) {
		var got int
		value, err := session.Get(t.Context(), key)
		fmt.Sscan(value, &got)
		if err != nil || got < acknowledged {
			t.Errorf("%s is %q (%v), acknowledged was %d", key, value, err, acknowledged)
		}
	})
}

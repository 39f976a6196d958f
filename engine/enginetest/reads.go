package enginetest

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// reader is the engine of a pair whose standby serves reads.
func (p *Pair) reader(t *testing.T) engine.Reader {
	t.Helper()
	r, ok := p.engine.(engine.Reader)
	if !ok {
		t.Skip("this product's nodes that follow serve nobody")
	}
	return r
}

// catchUp has the standby catch up, once it serves, as the keeper does.
func (p *Pair) catchUp(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		err = p.reader(t).CatchUp(ctx, p.Primary(), p.Standby())
		return backstay.KindOf(err) == backstay.Unavailable, err
	})
	if err != nil {
		t.Fatalf("CatchUp: %v", err)
	}
}

// newReaderOf makes a read-only user of the primary, and returns its credentials on the standby.
func (s Subject) newReaderOf(t *testing.T, p *Pair) (engine.User, backstay.Credentials) {
	t.Helper()
	u := newReader()
	return u, elsewhere(s.createUser(t, p.Primary(), u), p.Primary(), p.Standby())
}

// testUsersOfAStandby wants the users of a primary to read from its standby, as what they are there: who was made can
// once the standby has caught up, and who was dropped has no session left.
func testUsersOfAStandby(t *testing.T, s Subject) {
	p := s.pair(t)
	p.catchUp(t)
	p.Protect(t)
	_, writer := p.user(t)
	s.session(t, writer[p.leads], func(c Session) { mustSet(t, c, "key", "value") })
	gone, dropped := s.newReaderOf(t, p)
	_, stays := s.newReaderOf(t, p)
	p.catchUp(t)
	s.session(t, dropped, func(ends Session) {
		s.session(t, stays, func(goesOn Session) {
			wantReadOnly(t, ends, "key", "value")
			wantReadOnly(t, goesOn, "key", "value")
			mustDrop(t, s, p.Primary(), gone)
			p.catchUp(t)
			if _, err := ends.Get(t.Context(), "key"); err == nil {
				t.Error("a session on the standby goes on though its user is gone")
			}
			wantRefused(t, s, dropped)
			wantReadOnly(t, goesOn, "key", "value")
		})
	})
	p.catchUp(t)
	s.session(t, stays, func(c Session) {
		if err := p.reader(t).EndReaders(t.Context(), p.Standby()); err != nil {
			t.Fatalf("EndReaders: %v", err)
		}
		if _, err := c.Get(t.Context(), "key"); err == nil {
			t.Error("a session goes on though all are to end")
		}
	})
	s.session(t, stays, func(c Session) { wantValue(t, c, "key", "value") })
	s.session(t, writer[p.leads], func(c Session) { mustSet(t, c, "key", "later") })
	p.awaitFollowing(t)
}

// testCatchUpWaits wants a standby that hangs not to be told to have caught up.
func testCatchUpWaits(t *testing.T, s Subject) {
	p := s.pair(t)
	r := p.reader(t)
	goOn := p.hang(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.CatchUp(ctx, p.Primary(), p.Standby()); err == nil {
		t.Error("a standby that hangs has caught up")
	}
	goOn()
	p.awaitFollowing(t)
	p.catchUp(t)
}

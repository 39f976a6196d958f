package enginetest

import (
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testRotate wants the administrator to have another password afterwards, nobody to notice, and who administers the
// node meanwhile to get in with one or the other.
func testRotate(t *testing.T, s Subject) {
	r, ok := s.Engine.(engine.Rotator)
	if !ok {
		t.Skip("the administrator of this engine has no password")
	}
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	u := newUser()
	before, err := n.Admin.Secret()
	if err != nil {
		t.Fatal(err)
	}
	s.session(t, s.createUser(t, n, u), func(c Session) {
		mustSet(t, c, "k", "v")
		var all errgroup.Group
		for range 3 {
			all.Go(func() error { return r.Rotate(t.Context(), n) })
			all.Go(func() error { return s.Engine.Probe(t.Context(), n) })
		}
		if err := all.Wait(); err != nil {
			t.Errorf("at once: %v", err)
		}
		wantValue(t, c, "k", "v")
	})
	after, err := n.Admin.Secret()
	if err != nil || after == before {
		t.Errorf("the administrator's password is another one: %t, %v", after != before, err)
	}
	late := n
	late.Admin.Secret = func() (backstay.Secret, error) { return before, nil }
	if err := s.Engine.Probe(t.Context(), late); err == nil {
		t.Error("the password of before is accepted")
	}
	p.Stop(t)
	Serve(t, s.Engine, n) // which proves that the server has kept it
	mustDrop(t, s, n, u)
}

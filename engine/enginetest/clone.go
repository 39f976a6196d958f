package enginetest

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

func (s Subject) cloner(t *testing.T) engine.Cloner {
	t.Helper()
	c, clones := s.Engine.(engine.Cloner)
	if _, archives := s.Engine.(engine.Archiver); archives && !clones {
		t.Fatal("what is backed up cannot be copied, as users are told it can")
	}
	if !clones {
		t.Skip("this engine copies no node")
	}
	return c
}

// testClone copies a node while clients write. The copy has all that was committed before, and no user; the original
// serves on.
func testClone(t *testing.T, s Subject) {
	cloner := s.cloner(t)
	n, to := s.newNode(t), s.newNode(t)
	Serve(t, s.Engine, n)
	u := newUser()
	credentials := s.createUser(t, n, u)
	s.session(t, credentials, func(c Session) { mustSet(t, c, "key", "value") })
	writers, end := s.writing(t, n, 3, 0)
	await(t, "commits of all", func() bool { _, high := writers[2].bounds(time.Now(), time.Now()); return high > 20 })
	began := time.Now()
	told := 0
	if err := cloner.Clone(t.Context(), n, to, func(string) { told++ }); err != nil {
		t.Fatalf("Clone: %v", err)
	}
	ended := time.Now()
	end()
	if told == 0 {
		t.Error("a clone that tells of no progress")
	}
	p := Serve(t, s.Engine, to)
	wantRefused(t, s, elsewhere(credentials, n, to))
	s.session(t, s.createUser(t, to, newUser()), func(c Session) {
		wantValue(t, c, "key", "value")
		for _, w := range writers {
			w.want(t, c, began, ended)
			if w.longest > 5*time.Second {
				t.Errorf("meanwhile a client waited for %v", w.longest)
			}
		}
		mustSet(t, c, "key", "copied")
	})
	p.Stop(t)
	wantPrivate(t, to)
	if got := entries(t, filepath.Dir(to.DataDir)); len(got) > len(entries(t, filepath.Dir(n.DataDir))) {
		t.Errorf("beside the copy lie %v", got)
	}
	s.session(t, credentials, func(c Session) { wantValue(t, c, "key", "value") })
}

// testCloneKilled kills the copying at several moments, and behind each of its steps: the next one is whole, and the
// original serves on. A node that does not serve is not copied.
func testCloneKilled(t *testing.T, s Subject) {
	cloner := s.cloner(t)
	n, to := s.newNode(t), s.newNode(t)
	p := Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	s.session(t, credentials, func(c Session) { mustSet(t, c, "key", "value") })
	for range 4 {
		s.killDoing(t, order{Act: "clone", From: &n, Node: to}, rand.N(500*time.Millisecond))
	}
	for _, name := range s.steps(t, order{Act: "clone", From: &n, Node: s.newNode(t)}) {
		s.steps(t, order{Act: "clone", DieAfter: name, From: &n, Node: to})
	}
	if err := cloner.Clone(t.Context(), n, to, func(string) {}); err != nil {
		t.Fatalf("Clone: %v", err)
	}
	Serve(t, s.Engine, to)
	s.session(t, s.createUser(t, to, newUser()), func(c Session) { wantValue(t, c, "key", "value") })
	s.session(t, credentials, func(c Session) { mustSet(t, c, "key", "value") })
	p.Stop(t)
	third := s.newNode(t)
	err := cloner.Clone(t.Context(), n, third, func(string) {})
	if backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a node that has ended: got %v, want it to be unavailable", err)
	}
	wantNothingMade(t, third)
}

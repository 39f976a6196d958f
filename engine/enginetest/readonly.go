package enginetest

import (
	"testing"

	"github.com/backstay/backstay/engine"
)

func newReader() engine.User {
	u := newUser()
	u.ReadOnly = true
	return u
}

// wantReadOnly wants the session to see the key, and to be able neither to change it nor to make another.
func wantReadOnly(t *testing.T, c Session, key, value string) {
	t.Helper()
	wantValue(t, c, key, value)
	for _, k := range []string{key, key + "/new"} {
		if err := c.Set(t.Context(), k, "changed"); err == nil {
			t.Errorf("a read-only user sets %s", k)
		}
	}
	wantValue(t, c, key, value)
	if got, err := c.Get(t.Context(), key+"/new"); err == nil && got != "" {
		t.Errorf("what a read-only user was not to make is there: %q", got)
	}
}

// testReadOnlySees wants a reader to see what others make, whether they made it before the reader was created or while
// its session goes on, and whether they are still there or not.
func testReadOnlySees(t *testing.T, s Subject, n engine.Node) {
	early, late := newUser(), newUser()
	s.session(t, s.createUser(t, n, early), func(c Session) { mustSet(t, c, t.Name(), "early") })
	s.session(t, s.createUser(t, n, newReader()), func(reader Session) {
		wantReadOnly(t, reader, t.Name(), "early")
		s.session(t, s.createUser(t, n, late), func(c Session) {
			mustSet(t, c, t.Name(), "late")
			mustSet(t, c, t.Name()+"/other", "made meanwhile")
		})
		mustDrop(t, s, n, early)
		mustDrop(t, s, n, late)
		wantReadOnly(t, reader, t.Name(), "late")
		wantValue(t, reader, t.Name()+"/other", "made meanwhile")
	})
}

// testReadOnlyFirst wants a reader that was created in an empty database to see what is made later.
func testReadOnlyFirst(t *testing.T, s Subject) {
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	reader := s.createUser(t, n, newReader())
	s.session(t, reader, func(c Session) {
		if err := c.Set(t.Context(), t.Name(), "v"); err == nil {
			t.Error("a read-only user sets a key in an empty database")
		}
	})
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, t.Name(), "v") })
	s.session(t, reader, func(c Session) { wantReadOnly(t, c, t.Name(), "v") })
}

func testReadOnlyTwice(t *testing.T, s Subject, n engine.Node) {
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, t.Name(), "v") })
	u := newReader()
	first := s.createUser(t, n, u)
	s.session(t, first, func(c Session) {
		s.createUser(t, n, u)
		wantReadOnly(t, c, t.Name(), "v")
	})
	u.Password = newUser().Password
	second := s.createUser(t, n, u)
	wantRefused(t, s, first)
	s.session(t, second, func(c Session) { wantReadOnly(t, c, t.Name(), "v") })
}

func testReadOnlyEnds(t *testing.T, s Subject, n engine.Node) {
	u := newReader()
	c := s.createUser(t, n, u)
	s.session(t, s.createUser(t, n, newUser()), func(writer Session) {
		mustSet(t, writer, t.Name(), "v")
		s.session(t, c, func(reader Session) {
			wantValue(t, reader, t.Name(), "v")
			mustDrop(t, s, n, u)
			if _, err := reader.Get(t.Context(), t.Name()); err == nil {
				t.Error("a session goes on though its read-only user is gone")
			}
		})
		wantRefused(t, s, c)
		mustDrop(t, s, n, u)
		wantValue(t, writer, t.Name(), "v")
	})
}

// testReadOnlyOrNot wants a user to have the rights with which it was last created.
func testReadOnlyOrNot(t *testing.T, s Subject, n engine.Node) {
	u := newUser()
	as := func(readOnly bool, work func(Session)) {
		u.ReadOnly = readOnly
		s.session(t, s.createUser(t, n, u), work)
	}
	as(false, func(c Session) { mustSet(t, c, t.Name(), "v") })
	as(true, func(c Session) { wantReadOnly(t, c, t.Name(), "v") })
	as(false, func(c Session) { mustSet(t, c, t.Name(), "w") })
	as(true, func(c Session) { wantReadOnly(t, c, t.Name(), "w") })
}

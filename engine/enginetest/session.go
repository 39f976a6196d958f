package enginetest

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// newNode is NewNode with a golden directory that all tests of the suite share.
func (s Subject) newNode(t *testing.T) engine.Node {
	t.Helper()
	n := NewNode(t, s.Engine)
	n.CacheDir = s.cache
	return n
}

// newUser returns a user with a name and a password of the kind that bindings get.
func newUser() engine.User {
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	return engine.User{Name: "u" + id[:15], Password: backstay.Secret("p" + id)}
}

func (s Subject) createUser(t *testing.T, n engine.Node, u engine.User) backstay.Credentials {
	t.Helper()
	c, err := s.Engine.CreateUser(t.Context(), n, u)
	if err != nil {
		t.Fatalf("CreateUser: %v", err)
	}
	return c
}

func mustDrop(t *testing.T, s Subject, n engine.Node, u engine.User) {
	t.Helper()
	if err := s.Engine.DropUser(t.Context(), n, u.Name); err != nil {
		t.Fatalf("DropUser: %v", err)
	}
}

// session opens a session, does the work and closes the session.
func (s Subject) session(t *testing.T, c backstay.Credentials, work func(Session)) {
	t.Helper()
	session, err := s.Connect(t.Context(), c)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer session.Close() // how it ends is no part of the contract
	work(session)
}

func wantRefused(t *testing.T, s Subject, c backstay.Credentials) {
	t.Helper()
	session, err := s.Connect(t.Context(), c)
	if err == nil {
		session.Close()
		t.Error("credentials that are no more are let in")
	}
}

func mustSet(t *testing.T, c Session, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value); err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

func wantValue(t *testing.T, c Session, key, want string) {
	t.Helper()
	if got, err := c.Get(t.Context(), key); err != nil || got != want {
		t.Errorf("%s is %q (%v), want %q", key, got, err, want)
	}
}

package backendtest

import (
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// bound is an instance that serves, with a user.
func (s Subject) bound(t *testing.T) (backend.Spec, backstay.Credentials) {
	t.Helper()
	spec := s.spec(t)
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	if err != nil {
		t.Fatal(err)
	}
	return spec, c
}

// reach applies a Spec and waits until it serves, without an obstacle.
func (s Subject) reach(t *testing.T, spec backend.Spec) {
	t.Helper()
	s.mustApply(t, spec)
	status := s.running(t, spec.Instance, spec.Generation)
	if status.Obstacle != (backend.Obstacle{}) || status.Wanted != spec.Generation {
		t.Errorf("generation %d runs as %+v", spec.Generation, status)
	}
}

func largerAndSmaller(t *testing.T, s Subject) {
	spec, c := s.bound(t)
	small := spec.Size
	large := backstay.Size{Storage: 4 * small.Storage, Memory: 4 * small.Memory, Connections: 4 * small.Connections}
	if !slices.Contains(s.Can, moreStorage) {
		large.Storage = small.Storage
	}
	if !slices.Contains(s.Can, lessStorage) {
		small.Storage = large.Storage
	}
	for _, size := range []backstay.Size{large, small, large} {
		spec.Generation, spec.Size = spec.Generation+1, size
		s.reach(t, spec)
		s.mustConnect(t, c)
	}
}

// What a backend may not be able to do to an instance that has data; see Subject.Can.
const (
	moreStorage = "more storage"
	lessStorage = "less storage"
)

// moreStorageEndsNoSession: no engine needs a restart for it.
func moreStorageEndsNoSession(t *testing.T, s Subject) {
	if !slices.Contains(s.Can, moreStorage) {
		t.Skip("the backend cannot give an instance more storage")
	}
	spec, c := s.bound(t)
	session := s.mustOpen(t, c)
	spec.Generation++
	spec.Size.Storage *= 4
	s.reach(t, spec)
	if err := session.Ping(t.Context()); err != nil {
		t.Errorf("more storage has ended a session: %v", err)
	}
}

// storageThatCannotChange is refused before anything is changed: there may be no way back from a change that was begun.
func storageThatCannotChange(t *testing.T, s Subject) {
	spec, c := s.bound(t)
	for what, storage := range map[string]backstay.Bytes{
		moreStorage: 4 * spec.Size.Storage, lessStorage: spec.Size.Storage / 2,
	} {
		if slices.Contains(s.Can, what) {
			continue
		}
		other := spec
		other.Generation, other.Size.Storage = spec.Generation+1, storage
		wantKind(t, "Admit of "+what, s.Backend.Admit(t.Context(), other), backstay.Unsupported)
		wantKind(t, "Apply of "+what, s.Backend.Apply(t.Context(), other), backstay.Unsupported)
	}
	s.wantHeld(t, spec.Instance, spec.Generation)
	s.reach(t, spec)
	s.mustConnect(t, c)
}

// restartOnce: a wish for a restart ends the sessions that there are, and no later ones.
func restartOnce(t *testing.T, s Subject) {
	spec, c := s.bound(t)
	for range 2 {
		before := s.mustOpen(t, c)
		spec.Generation, spec.Restarts = spec.Generation+1, spec.Restarts+1
		s.reach(t, spec)
		if err := before.Ping(t.Context()); err == nil {
			t.Error("a restart was asked for, and a session goes on")
		}
		after := s.mustOpen(t, c)
		s.reach(t, spec)
		spec.Generation, spec.TLS = spec.Generation+1, s.Certificate(t)
		s.reach(t, spec)
		if err := after.Ping(t.Context()); err != nil {
			t.Errorf("one restart was asked for, and a later session has ended: %v", err)
		}
	}
}

// restartThatIsOvertaken: whoever accepts another Spec before the restart has come still wants it.
func restartThatIsOvertaken(t *testing.T, s Subject) {
	spec, c := s.bound(t)
	before := s.mustOpen(t, c)
	spec.Generation, spec.Restarts = 2, 1
	s.mustApply(t, spec)
	spec.Generation, spec.TLS = 3, s.Certificate(t)
	s.reach(t, spec)
	if err := before.Ping(t.Context()); err == nil {
		t.Error("a restart was asked for, and a session goes on")
	}
	spec.Generation, spec.Restarts = 4, 0
	after := s.mustOpen(t, c)
	s.reach(t, spec)
	if err := after.Ping(t.Context()); err != nil {
		t.Errorf("the return to a Spec of before has ended a session: %v", err)
	}
}

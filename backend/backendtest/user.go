package backendtest

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

func userOfAnInstanceComingUp(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	if err != nil {
		t.Fatalf("CreateUser: %v, want it to wait until the instance runs", err)
	}
	s.mustConnect(t, c)
}

func usersComeAndGo(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	u := newUser()
	old, err := s.Backend.CreateUser(t.Context(), spec.Instance, u)
	if err != nil {
		t.Fatal(err)
	}
	u.Password = newUser().Password
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, u)
	if err != nil {
		t.Fatal(err)
	}
	s.mustConnect(t, c)
	if !s.refuses(t, old) {
		t.Error("the old password is still good")
	}
	for range 2 {
		if err := s.Backend.DropUser(t.Context(), spec.Instance, u.Name); err != nil {
			t.Fatalf("DropUser: %v", err)
		}
	}
	if !s.refuses(t, c) {
		t.Error("the credentials outlived the user")
	}
	_, err = s.Backend.CreateUser(t.Context(), spec.Instance, backend.User{Name: `u"; DROP`, Password: "x"})
	wantKind(t, "CreateUser of a bad name", err, backstay.Invalid)
}

func newUser() backend.User {
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	return backend.User{Name: "u" + id[:15], Password: backstay.Secret(id)}
}

package state_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/uaa"
)

// TestRolesEndWithTheirUser gives a user roles while the user is being deleted.
func TestRolesEndWithTheirUser(t *testing.T) {
	t.Parallel()
	store := markettest.OpenStore(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o, err := store.AddOrganization(t.Context(), backstay.Organization{ID: "o", Name: "o"}, backstay.Event{})
	must(err)
	s, err := store.AddSpace(t.Context(), backstay.Space{ID: "s", OrganizationID: o.ID, Name: "s"}, backstay.Event{})
	must(err)
	give := func(user backstay.UserID, r backstay.Role) error {
		r.ID, r.UserID = backstay.RoleID(uuid.NewString()), user
		_, err := store.AddRole(t.Context(), r, backstay.Event{})
		return err
	}
	for round := range 20 {
		id := backstay.UserID(fmt.Sprint("client-", round))
		must(store.AddUser(t.Context(), uaa.User{ID: id, Username: string(id), Client: true, PasswordHash: "x"},
			backstay.Event{}))
		must(give(id, backstay.Role{Type: "organization_user", OrganizationID: o.ID}))
		var all sync.WaitGroup
		for _, role := range []string{"space_developer", "space_manager", "space_auditor"} {
			all.Go(func() {
				if err := give(id, backstay.Role{Type: role, SpaceID: s.ID}); err != nil &&
					backstay.KindOf(err) != backstay.Invalid {
					t.Errorf("give %s: %v", role, err)
				}
			})
		}
		all.Go(func() {
			if err := store.RemoveUser(t.Context(), id, backstay.Event{}); err != nil {
				t.Errorf("remove: %v", err)
			}
		})
		all.Wait()
	}
	l, err := store.Roles(t.Context(), market.RoleFilter{})
	if err != nil || len(l.Items) != 0 {
		t.Errorf("roles of nobody: %+v (%v)", l.Items, err)
	}
	if err := give("nobody", backstay.Role{Type: "organization_user",
		OrganizationID: o.ID}); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("a role for nobody: %v", err)
	}
}

package market

import (
	"context"
	"slices"

	"github.com/backstay/backstay"
)

var (
	organizationRoles = []string{
		"organization_user", "organization_auditor", "organization_manager", "organization_billing_manager",
	}
	spaceRoles = []string{"space_auditor", "space_developer", "space_manager", "space_supporter"}
)

// Users lists those who may log in.
func (m *Market) Users(ctx context.Context, actor backstay.Actor, f UserFilter) (List[backstay.User], error) {
	f.Viewer = viewer(actor)
	return m.Store.Users(ctx, f)
}

// User returns one user.
func (m *Market) User(ctx context.Context, actor backstay.Actor, id backstay.UserID) (backstay.User, error) {
	l, err := m.Users(ctx, actor, UserFilter{IDs: []backstay.UserID{id}})
	return single(l, err, "User")
}

// Roles lists the roles that the actor may see.
func (m *Market) Roles(ctx context.Context, actor backstay.Actor, f RoleFilter) (List[backstay.Role], error) {
	f.Viewer = viewer(actor)
	return m.Store.Roles(ctx, f)
}

// Role returns one role.
func (m *Market) Role(ctx context.Context, actor backstay.Actor, id backstay.RoleID) (backstay.Role, error) {
	l, err := m.Roles(ctx, actor, RoleFilter{IDs: []backstay.RoleID{id}})
	return single(l, err, "Role")
}

// CreateRole gives a user, named by id or username, a role in an organization or a space.
func (m *Market) CreateRole(ctx context.Context, actor backstay.Actor, n NewRole) (backstay.Role, error) {
	at, err := m.checkRolePlace(ctx, actor, n)
	if err != nil {
		return backstay.Role{}, err
	}
	if n.UserID == "" {
		if err := m.requireFlag(ctx, actor, rolesByUsername, admin); err != nil {
			return backstay.Role{}, err
		}
	}
	user, err := m.findUser(ctx, n)
	if err != nil {
		return backstay.Role{}, err
	}
	r := backstay.Role{
		ID: backstay.RoleID(newID()), Type: n.Type, UserID: user.ID,
		OrganizationID: n.OrganizationID, SpaceID: n.SpaceID,
	}
	added, err := m.Store.AddRole(ctx, r, roleEvent(actor, "add", r, user, at))
	if backstay.KindOf(err) == backstay.Taken {
		return added, m.roleTaken(ctx, actor, n, user)
	}
	return added, err
}

func (m *Market) findUser(ctx context.Context, n NewRole) (backstay.User, error) {
	f := UserFilter{Usernames: []string{n.Username}}
	if n.Origin != "" {
		f.Origins = []string{n.Origin}
	}
	if n.UserID != "" {
		f = UserFilter{IDs: []backstay.UserID{n.UserID}}
	}
	l, err := m.Store.Users(ctx, f)
	if err != nil {
		return backstay.User{}, err
	}
	if len(l.Items) == 0 {
		return backstay.User{}, n.unknownUser()
	}
	return l.Items[0], nil
}

// unknownUser says that there is no such user, in the words that Cloud Controller has for where the role is to be
// and how the user is named.
func (n NewRole) unknownUser() error {
	switch {
	case n.SpaceID != "":
		return backstay.Errorf(backstay.Invalid,
			"Users cannot be assigned roles in a space if they do not have a role in that space's organization.")
	case n.UserID != "":
		return backstay.Errorf(backstay.Invalid,
			"Invalid user. Ensure that the user exists and you have access to it.")
	case n.Origin != "":
		return backstay.Errorf(backstay.Invalid, "No user exists with the username '%s' and origin '%s'.",
			n.Username, n.Origin)
	}
	return backstay.Errorf(backstay.Invalid, "No user exists with the username '%s'.", n.Username)
}

// checkRolePlace returns the place of a new role. It is Forbidden if the actor may not give roles there.
func (m *Market) checkRolePlace(ctx context.Context, actor backstay.Actor, n NewRole) (at place, err error) {
	switch {
	case slices.Contains(organizationRoles, n.Type) && n.OrganizationID != "" && n.SpaceID == "":
		_, err = m.organizationFor(ctx, actor, n.OrganizationID, OrganizationManagers)
		if backstay.KindOf(err) == backstay.NotFound {
			err = backstay.Errorf(backstay.Invalid,
				"Invalid organization. Ensure that the organization exists and you have access to it.")
		}
		return place{organization: n.OrganizationID}, err
	case slices.Contains(spaceRoles, n.Type) && n.SpaceID != "" && n.OrganizationID == "":
		return m.permitInSpace(ctx, actor, n.SpaceID, SpaceManagers)
	}
	return at, backstay.Errorf(backstay.Invalid,
		"Role type '%s' must be one of %v with an organization, or one of %v with a "+
			"space", n.Type, organizationRoles, spaceRoles)
}

// roleTaken says that a user has the role already, in the words that the cf command takes for success.
func (m *Market) roleTaken(ctx context.Context, actor backstay.Actor, n NewRole, u backstay.User) error {
	if n.SpaceID != "" {
		s, err := m.Space(ctx, actor, n.SpaceID)
		if err != nil {
			return err
		}
		return backstay.Errorf(backstay.Taken,
			"User '%s' already has '%s' role in space '%s'.", u.PresentationName(), n.Type, s.Name)
	}
	o, err := m.Organization(ctx, actor, n.OrganizationID)
	if err != nil {
		return err
	}
	return backstay.Errorf(backstay.Taken,
		"User '%s' already has '%s' role in organization '%s'.", u.PresentationName(), n.Type, o.Name)
}

// DeleteRole takes a role away.
func (m *Market) DeleteRole(ctx context.Context, actor backstay.Actor, id backstay.RoleID) (backstay.Job, error) {
	r, err := m.Role(ctx, actor, id)
	if err != nil {
		return backstay.Job{}, err
	}
	at, err := m.permitRole(ctx, actor, r)
	if err != nil {
		return backstay.Job{}, err
	}
	users, err := m.Store.Users(ctx, UserFilter{IDs: []backstay.UserID{r.UserID}})
	if err != nil {
		return backstay.Job{}, err
	}
	user := backstay.User{ID: r.UserID}
	if len(users.Items) > 0 {
		user = users.Items[0]
	}
	j := m.newJob(actor, deleteRole, string(id), backstay.JobProcessing)
	j.Completed = roleEvent(actor, "remove", r, user, at)
	return j, m.Store.AcceptJob(ctx, backstay.Event{}, j)
}

func (m *Market) permitRole(ctx context.Context, actor backstay.Actor, r backstay.Role) (place, error) {
	if r.SpaceID != "" {
		return m.permitIn(ctx, actor, r.SpaceID, SpaceManagers)
	}
	at := place{organization: r.OrganizationID}
	return at, m.permit(ctx, actor, at, OrganizationManagers)
}

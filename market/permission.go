package market

import (
	"context"
	"slices"

	"github.com/backstay/backstay"
)

// Roles is a set of roles. Those that count on the whole platform are among them.
type Roles uint16

const (
	admin Roles = 1 << iota
	adminReadOnly
	globalAuditor
	organizationManager
	organizationAuditor
	organizationBillingManager
	organizationUser
	spaceManager
	spaceDeveloper
	spaceAuditor
	spaceSupporter
)

// These sets say who may do what. Whoever may do something to a thing may also see it; others are told that it
// does not exist (see the Viewer of a filter).
const (
	Administrators      = admin
	GlobalReaders       = admin | adminReadOnly | globalAuditor
	OrganizationReaders = GlobalReaders | organizationManager | organizationAuditor |
		organizationBillingManager | organizationUser
	OrganizationManagers = admin | organizationManager
	SpaceReaders         = GlobalReaders | organizationManager | spaceManager | spaceDeveloper |
		spaceAuditor | spaceSupporter
	SpaceManagers   = admin | organizationManager | spaceManager
	SpaceDevelopers = admin | spaceDeveloper
	EventReaders    = GlobalReaders | organizationAuditor | spaceDeveloper | spaceAuditor | spaceSupporter
	SecretReaders   = admin | adminReadOnly | spaceDeveloper
	VariableReaders = SecretReaders | spaceSupporter
	BrokerReaders   = GlobalReaders | spaceDeveloper
)

// roleNames are the names of the roles in the Cloud Foundry API, in the order of the constants.
var roleNames = []string{
	string(backstay.Administrator), string(backstay.AdminReadOnly), string(backstay.GlobalAuditor),
	"organization_manager", "organization_auditor", "organization_billing_manager", "organization_user",
	"space_manager", "space_developer", "space_auditor", "space_supporter",
}

// Names lists the roles of the set by their names in the Cloud Foundry API.
func (r Roles) Names() []string {
	var names []string
	for i, name := range roleNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// RolesOf returns the set of the roles of these types. Unknown types are left out.
func RolesOf[T ~string](types ...T) (all Roles) {
	for _, t := range types {
		if i := slices.Index(roleNames, string(t)); i >= 0 {
			all |= 1 << i
		}
	}
	return all
}

// place is where something is done: in an organization, or in a space of it.
type place struct {
	organization backstay.OrganizationID
	space        backstay.SpaceID // empty in no space
}

// placeOf returns the place of what is in a space.
func (m *Market) placeOf(ctx context.Context, space backstay.SpaceID) (place, error) {
	l, err := m.Store.Spaces(ctx, SpaceFilter{IDs: []backstay.SpaceID{space}})
	s, err := single(l, err, "Space")
	return place{s.OrganizationID, s.ID}, err
}

// permit returns Forbidden unless the actor has one of the roles at that place. The caller has made sure that the
// actor may see what is there, so the refusal gives no secret away.
func (m *Market) permit(ctx context.Context, actor backstay.Actor, at place, may Roles) error {
	if at == (place{}) || RolesOf(actor.Role)&may != 0 {
		return permitWith(actor, nil, may)
	}
	types, err := m.Store.RolesAt(ctx, actor.UserID, at.organization, at.space)
	if err != nil {
		return err
	}
	if err := permitWith(actor, types, may); err != nil {
		return err
	}
	return m.checkActive(ctx, at, may)
}

// ErrSuspended refuses a change in an organization that is suspended to everybody but administrators.
var ErrSuspended = backstay.Errorf(backstay.Forbidden, "The organization is suspended. Ask an administrator.")

// checkActive returns ErrSuspended where the organization is suspended and the roles are those that a change
// needs: those that look at things have somebody among them who looks at everything.
func (m *Market) checkActive(ctx context.Context, at place, may Roles) error {
	if may&adminReadOnly != 0 {
		return nil
	}
	l, err := m.Store.Organizations(ctx, OrganizationFilter{IDs: []backstay.OrganizationID{at.organization}})
	if err == nil && len(l.Items) > 0 && l.Items[0].Suspended {
		err = ErrSuspended
	}
	return err
}

// permitWith is permit for an actor of whom it is known already which types of role they have at that place.
func permitWith(actor backstay.Actor, types []string, may Roles) error {
	if (RolesOf(actor.Role)|RolesOf(types...))&may == 0 {
		return forbidden(may)
	}
	return nil
}

// forbidden refuses what needs one of the roles, in Cloud Controller's words, and tells whom to ask for one.
func forbidden(may Roles) error {
	whom := "an administrator"
	switch {
	case may&spaceDeveloper != 0:
		whom = "a manager of the space or of its organization for the role SpaceDeveloper"
	case may&spaceManager != 0:
		whom = "a manager of the space or of its organization"
	case may&organizationManager != 0:
		whom = "a manager of the organization"
	}
	return backstay.Errorf(backstay.Forbidden, "You are not authorized to perform the requested action. Ask %s.", whom)
}

// permitIn is permit in a space. It also returns the space's place.
func (m *Market) permitIn(
	ctx context.Context, actor backstay.Actor, space backstay.SpaceID, may Roles,
) (place, error) {
	at, err := m.placeOf(ctx, space)
	if err != nil {
		return at, err
	}
	return at, m.permit(ctx, actor, at, may)
}

// MayInSpace tells whether the actor has one of the roles in a space. The caller has made sure that the actor may
// see the space.
func (m *Market) MayInSpace(
	ctx context.Context, actor backstay.Actor, space backstay.SpaceID, may Roles,
) (bool, error) {
	_, err := m.permitIn(ctx, actor, space, may)
	if backstay.KindOf(err) == backstay.Forbidden {
		return false, nil
	}
	return err == nil, err
}

// permitInSpace is permitIn for a space that a request names. A space that the actor may not see is Invalid: the
// request is wrong.
func (m *Market) permitInSpace(
	ctx context.Context, actor backstay.Actor, id backstay.SpaceID, may Roles,
) (place, error) {
	s, err := m.Space(ctx, actor, id)
	if backstay.KindOf(err) == backstay.NotFound {
		return place{}, backstay.Errorf(backstay.Invalid,
			"Invalid space. Ensure that the space exists and you have access to it.")
	}
	if err != nil {
		return place{}, err
	}
	at := place{s.OrganizationID, s.ID}
	return at, m.permit(ctx, actor, at, may)
}

// viewer returns the user to whose roles a list is narrowed; nil if the actor sees everything.
func viewer(actor backstay.Actor) *backstay.UserID {
	if RolesOf(actor.Role)&GlobalReaders != 0 {
		return nil
	}
	return &actor.UserID
}

package market

import (
	"context"

	"github.com/backstay/backstay"
)

// Organizations lists the organizations that the actor may see.
func (m *Market) Organizations(
	ctx context.Context, actor backstay.Actor, f OrganizationFilter,
) (List[backstay.Organization], error) {
	f.Viewer = viewer(actor)
	return m.Store.Organizations(ctx, f)
}

// Organization returns one organization.
func (m *Market) Organization(
	ctx context.Context, actor backstay.Actor, id backstay.OrganizationID,
) (backstay.Organization, error) {
	l, err := m.Organizations(ctx, actor, OrganizationFilter{IDs: []backstay.OrganizationID{id}})
	return single(l, err, "Organization")
}

// OrganizationUpdate changes an organization; what is nil stays.
type OrganizationUpdate struct {
	Update
	Suspended *bool // only administrators may change it
}

func (u OrganizationUpdate) details() details {
	d := u.Update.details()
	if u.Suspended != nil {
		d["suspended"] = *u.Suspended
	}
	return d
}

// NewOrganization asks for an organization.
type NewOrganization struct {
	Name      string
	Suspended bool
	Metadata  backstay.MetadataUpdate
}

// CreateOrganization adds an organization, which has no members and no spaces.
func (m *Market) CreateOrganization(
	ctx context.Context, actor backstay.Actor, n NewOrganization,
) (backstay.Organization, error) {
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return backstay.Organization{}, err
	}
	if err := (Update{&n.Name, n.Metadata}).check(); err != nil {
		return backstay.Organization{}, err
	}
	o := backstay.Organization{
		ID: backstay.OrganizationID(newID()), Name: n.Name, Suspended: n.Suspended, Metadata: n.Metadata.Applied(),
	}
	added, err := m.Store.AddOrganization(ctx, o, organizationEvent(actor, "create", o, nil))
	return added, m.orEnding(ctx, err, deleteOrganization, func() (id, said string, err error) {
		l, err := m.Store.Organizations(ctx, OrganizationFilter{Names: []string{n.Name}})
		old, err := single(l, err, "Organization")
		return string(old.ID), "Organization " + n.Name, err
	})
}

// UpdateOrganization changes an organization. Only administrators suspend one, and end that.
func (m *Market) UpdateOrganization(
	ctx context.Context, actor backstay.Actor, id backstay.OrganizationID, u OrganizationUpdate,
) (backstay.Organization, error) {
	o, err := m.organizationFor(ctx, actor, id, OrganizationManagers)
	if err != nil {
		return o, err
	}
	if u.Suspended != nil && *u.Suspended != o.Suspended {
		if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
			return o, err
		}
	}
	if err := u.check(); err != nil {
		return o, err
	}
	return m.Store.UpdateOrganization(ctx, id, u, organizationEvent(actor, "update", o, request(u.details())))
}

// OrganizationUsage is how much there is in an organization of what a quota limits.
type OrganizationUsage struct{ Instances, Keys int }

// OrganizationUsage counts what is in an organization, for those who see it, whether or not they see the spaces.
func (m *Market) OrganizationUsage(
	ctx context.Context, actor backstay.Actor, id backstay.OrganizationID,
) (OrganizationUsage, error) {
	if _, err := m.Organization(ctx, actor, id); err != nil {
		return OrganizationUsage{}, err
	}
	return m.Store.OrganizationUsage(ctx, id)
}

// DeleteOrganization accepts the end of an organization and of everything in it.
func (m *Market) DeleteOrganization(
	ctx context.Context, actor backstay.Actor, id backstay.OrganizationID,
) (backstay.Job, error) {
	o, err := m.organizationFor(ctx, actor, id, Administrators)
	if err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, deleteOrganization, string(id), backstay.JobProcessing)
	return j, m.Store.AcceptJob(ctx, organizationEvent(actor, "delete-request", o, nil), j)
}

// organizationFor returns an organization. It is NotFound if the actor may not see it, and Forbidden if the actor
// has none of the roles there.
func (m *Market) organizationFor(
	ctx context.Context, actor backstay.Actor, id backstay.OrganizationID, may Roles,
) (backstay.Organization, error) {
	o, err := m.Organization(ctx, actor, id)
	if err != nil {
		return o, err
	}
	return o, m.permit(ctx, actor, place{organization: id}, may)
}

// Spaces lists the spaces that the actor may see.
func (m *Market) Spaces(ctx context.Context, actor backstay.Actor, f SpaceFilter) (List[backstay.Space], error) {
	f.Viewer = viewer(actor)
	return m.Store.Spaces(ctx, f)
}

// Space returns one space.
func (m *Market) Space(ctx context.Context, actor backstay.Actor, id backstay.SpaceID) (backstay.Space, error) {
	l, err := m.Spaces(ctx, actor, SpaceFilter{IDs: []backstay.SpaceID{id}})
	return single(l, err, "Space")
}

// CreateSpace adds a space to an organization.
func (m *Market) CreateSpace(
	ctx context.Context, actor backstay.Actor, organization backstay.OrganizationID, name string,
	noted backstay.MetadataUpdate,
) (backstay.Space, error) {
	_, err := m.organizationFor(ctx, actor, organization, OrganizationManagers)
	if backstay.KindOf(err) == backstay.NotFound {
		err = backstay.Errorf(backstay.Invalid,
			"Invalid organization. Ensure the organization exists and you have access to it.")
	}
	if err != nil {
		return backstay.Space{}, err
	}
	if err := (Update{&name, noted}).check(); err != nil {
		return backstay.Space{}, err
	}
	s := backstay.Space{
		ID: backstay.SpaceID(newID()), OrganizationID: organization, Name: name, AllowsSSH: true,
		Metadata: noted.Applied(),
	}
	added, err := m.Store.AddSpace(ctx, s, spaceEvent(actor, "create", s, nil))
	return added, m.orEnding(ctx, err, deleteSpace, func() (id, said string, err error) {
		l, err := m.Store.Spaces(
			ctx, SpaceFilter{Names: []string{name}, OrganizationIDs: []backstay.OrganizationID{organization}},
		)
		old, err := single(l, err, "Space")
		return string(old.ID), "Space " + name, err
	})
}

// SpaceUpdate changes a space; what is nil stays.
type SpaceUpdate struct {
	Update
	AllowsSSH *bool
}

func (u SpaceUpdate) details() details {
	d := u.Update.details()
	if u.AllowsSSH != nil {
		d["allow_ssh"] = *u.AllowsSSH
	}
	return d
}

// UpdateSpace changes a space.
func (m *Market) UpdateSpace(
	ctx context.Context, actor backstay.Actor, id backstay.SpaceID, u SpaceUpdate,
) (backstay.Space, error) {
	s, err := m.spaceFor(ctx, actor, id, SpaceManagers)
	if err != nil {
		return s, err
	}
	if err := u.check(); err != nil {
		return s, err
	}
	return m.Store.UpdateSpace(ctx, id, u, spaceEvent(actor, "update", s, request(u.details())))
}

// DeleteSpace accepts the end of a space with its apps, service instances and their data.
func (m *Market) DeleteSpace(ctx context.Context, actor backstay.Actor, id backstay.SpaceID) (backstay.Job, error) {
	s, err := m.spaceFor(ctx, actor, id, OrganizationManagers)
	if err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, deleteSpace, string(id), backstay.JobProcessing)
	return j, m.Store.AcceptJob(ctx, spaceEvent(actor, "delete-request", s, nil), j)
}

// spaceFor returns a space. It is NotFound if the actor may not see it, and Forbidden if the actor has none of the
// roles there.
func (m *Market) spaceFor(
	ctx context.Context, actor backstay.Actor, id backstay.SpaceID, may Roles,
) (backstay.Space, error) {
	s, err := m.Space(ctx, actor, id)
	if err != nil {
		return s, err
	}
	return s, m.permit(ctx, actor, place{s.OrganizationID, s.ID}, may)
}

package market

import (
	"context"

	"github.com/backstay/backstay"
)

// Organizations lists the organizations that by may see.
func (m *Market) Organizations(ctx context.Context, by backstay.Actor, f OrganizationFilter) (List[backstay.Organization], error) {
	if !mayList(by) {
		return List[backstay.Organization]{}, nil
	}
	return m.Store.Organizations(ctx, f)
}

// Organization returns one organization.
func (m *Market) Organization(ctx context.Context, by backstay.Actor, id backstay.OrganizationID) (backstay.Organization, error) {
	l, err := m.Organizations(ctx, by, OrganizationFilter{IDs: []backstay.OrganizationID{id}})
	return only(l, err, "Organization")
}

// CreateOrganization founds an organization without members or spaces.
func (m *Market) CreateOrganization(ctx context.Context, by backstay.Actor, name string) (backstay.Organization, error) {
	if by.Role != backstay.Administrator {
		return backstay.Organization{}, backstay.Errorf(backstay.Forbidden, "You are not authorized to perform the requested action")
	}
	if err := checkName(name); err != nil {
		return backstay.Organization{}, err
	}
	return m.Store.AddOrganization(ctx, backstay.Organization{ID: backstay.OrganizationID(newID()), Name: name})
}

// RenameOrganization gives an organization another name.
func (m *Market) RenameOrganization(ctx context.Context, by backstay.Actor, id backstay.OrganizationID, name string) (backstay.Organization, error) {
	if err := authorize(by, "Organization"); err != nil {
		return backstay.Organization{}, err
	}
	if err := checkName(name); err != nil {
		return backstay.Organization{}, err
	}
	return m.Store.RenameOrganization(ctx, id, name)
}

// DeleteOrganization accepts the end of an organization and of all that is in it.
func (m *Market) DeleteOrganization(ctx context.Context, by backstay.Actor, id backstay.OrganizationID) (backstay.Job, error) {
	if _, err := m.Organization(ctx, by, id); err != nil {
		return backstay.Job{}, err
	}
	j := newJob(deleteOrganization, string(id), backstay.JobProcessing)
	return j, m.Store.AcceptJob(ctx, j)
}

// Spaces lists the spaces that by may see.
func (m *Market) Spaces(ctx context.Context, by backstay.Actor, f SpaceFilter) (List[backstay.Space], error) {
	if !mayList(by) {
		return List[backstay.Space]{}, nil
	}
	return m.Store.Spaces(ctx, f)
}

// Space returns one space.
func (m *Market) Space(ctx context.Context, by backstay.Actor, id backstay.SpaceID) (backstay.Space, error) {
	l, err := m.Spaces(ctx, by, SpaceFilter{IDs: []backstay.SpaceID{id}})
	return only(l, err, "Space")
}

// CreateSpace opens a space in an organization.
func (m *Market) CreateSpace(ctx context.Context, by backstay.Actor, organization backstay.OrganizationID, name string) (backstay.Space, error) {
	if err := authorize(by, "Organization"); err != nil {
		return backstay.Space{}, err
	}
	if err := checkName(name); err != nil {
		return backstay.Space{}, err
	}
	return m.Store.AddSpace(ctx, backstay.Space{ID: backstay.SpaceID(newID()), OrganizationID: organization, Name: name})
}

// RenameSpace gives a space another name.
func (m *Market) RenameSpace(ctx context.Context, by backstay.Actor, id backstay.SpaceID, name string) (backstay.Space, error) {
	if err := authorize(by, "Space"); err != nil {
		return backstay.Space{}, err
	}
	if err := checkName(name); err != nil {
		return backstay.Space{}, err
	}
	return m.Store.RenameSpace(ctx, id, name)
}

// DeleteSpace accepts the end of a space with its apps, service instances and their data.
func (m *Market) DeleteSpace(ctx context.Context, by backstay.Actor, id backstay.SpaceID) (backstay.Job, error) {
	if _, err := m.Space(ctx, by, id); err != nil {
		return backstay.Job{}, err
	}
	j := newJob(deleteSpace, string(id), backstay.JobProcessing)
	return j, m.Store.AcceptJob(ctx, j)
}

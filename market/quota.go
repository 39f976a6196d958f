package market

import (
	"context"

	"github.com/backstay/backstay"
)

// NewQuota asks for a quota: for organizations, or for the spaces of one.
type NewQuota struct {
	QuotaUpdate
	OrganizationID  backstay.OrganizationID   // whose spaces it is for; empty: it is for organizations
	OrganizationIDs []backstay.OrganizationID // that are to have it at once
	SpaceIDs        []backstay.SpaceID        // that are to have it at once
}

// QuotaUpdate changes a quota. What is nil, or not among the limits, stays as it is.
type QuotaUpdate struct {
	Name      *string
	PaidPlans *bool
	Limits    map[backstay.Limit]*int64 // nil: no limit any more
}

// Quotas lists the quotas that the actor may see: those of the organizations and spaces that the actor sees.
func (m *Market) Quotas(ctx context.Context, actor backstay.Actor, f QuotaFilter) (List[backstay.Quota], error) {
	f.Viewer = viewer(actor)
	return m.Store.Quotas(ctx, f)
}

// Quota returns one quota, for spaces or for organizations.
func (m *Market) Quota(
	ctx context.Context, actor backstay.Actor, forSpaces bool, id backstay.QuotaID,
) (backstay.Quota, error) {
	noun := "Organization quota"
	if forSpaces {
		noun = "Space quota"
	}
	l, err := m.Quotas(ctx, actor, QuotaFilter{IDs: []backstay.QuotaID{id}, ForSpaces: forSpaces})
	return single(l, err, noun)
}

// quotaFor returns a quota. It is NotFound if the actor may not see it, and Forbidden if the actor may not change
// it.
func (m *Market) quotaFor(
	ctx context.Context, actor backstay.Actor, forSpaces bool, id backstay.QuotaID,
) (backstay.Quota, error) {
	q, err := m.Quota(ctx, actor, forSpaces, id)
	if err != nil {
		return q, err
	}
	return q, m.permitQuota(ctx, actor, q.OrganizationID)
}

// permitQuota returns Forbidden unless the actor may change a quota. Administrators say how much an organization
// may have, and its managers divide that among its spaces.
func (m *Market) permitQuota(ctx context.Context, actor backstay.Actor, organization backstay.OrganizationID) error {
	if organization == "" {
		return m.permit(ctx, actor, place{}, Administrators)
	}
	_, err := m.organizationFor(ctx, actor, organization, OrganizationManagers)
	if backstay.KindOf(err) == backstay.NotFound {
		return backstay.Errorf(backstay.Invalid,
			"Organization with guid '%s' does not exist, or you do not have access to it.", organization)
	}
	return err
}

// CreateQuota makes a quota. One that says nothing of paid plans allows them, as in the Cloud Foundry API.
func (m *Market) CreateQuota(ctx context.Context, actor backstay.Actor, n NewQuota) (backstay.Quota, error) {
	if err := m.permitQuota(ctx, actor, n.OrganizationID); err != nil {
		return backstay.Quota{}, err
	}
	q := backstay.Quota{
		ID: backstay.QuotaID(newID()), OrganizationID: n.OrganizationID, PaidPlans: n.PaidPlans == nil || *n.PaidPlans,
		Limits:          backstay.Limits{},
		OrganizationIDs: n.OrganizationIDs, SpaceIDs: n.SpaceIDs,
	}
	if n.Name != nil {
		q.Name = *n.Name
	}
	if err := checkName(q.Name); err != nil {
		return q, err
	}
	for name, limit := range n.Limits {
		if limit != nil {
			q.Limits[name] = *limit
		}
	}
	return m.Store.AddQuota(ctx, q, quotaEvent(actor, "create", q, q.OrganizationID, "", n.asked()))
}

// UpdateQuota changes a quota. It may then allow less than there is: what is there stays.
func (m *Market) UpdateQuota(
	ctx context.Context, actor backstay.Actor, forSpaces bool, id backstay.QuotaID, u QuotaUpdate,
) (backstay.Quota, error) {
	q, err := m.quotaFor(ctx, actor, forSpaces, id)
	if err != nil {
		return q, err
	}
	if u.Name != nil {
		if err := checkName(*u.Name); err != nil {
			return q, err
		}
	}
	if err := m.Store.UpdateQuota(
		ctx, id, u, quotaEvent(actor, "update", q, q.OrganizationID, "", u.asked()),
	); err != nil {
		return q, err
	}
	return m.Quota(ctx, actor, forSpaces, id)
}

// ApplyQuota gives a quota to organizations, in the place of the one that each has.
func (m *Market) ApplyQuota(
	ctx context.Context, actor backstay.Actor, id backstay.QuotaID, to []backstay.OrganizationID,
) (backstay.Quota, error) {
	q, err := m.quotaFor(ctx, actor, false, id)
	if err != nil {
		return q, err
	}
	var events []backstay.Event
	for _, o := range to {
		events = append(events, quotaEvent(actor, "apply", q, o, "", nil))
	}
	if err := m.Store.ApplyQuota(ctx, id, to, events); err != nil {
		return q, err
	}
	return m.Quota(ctx, actor, false, id)
}

// ApplySpaceQuota gives a quota to spaces of its organization.
func (m *Market) ApplySpaceQuota(
	ctx context.Context, actor backstay.Actor, id backstay.QuotaID, to []backstay.SpaceID,
) (backstay.Quota, error) {
	q, err := m.quotaFor(ctx, actor, true, id)
	if err != nil {
		return q, err
	}
	var events []backstay.Event
	for _, s := range to {
		events = append(events, quotaEvent(actor, "apply", q, q.OrganizationID, s, nil))
	}
	if err := m.Store.ApplySpaceQuota(ctx, q, to, events); err != nil {
		return q, err
	}
	return m.Quota(ctx, actor, true, id)
}

// RemoveSpaceQuota takes a quota away from a space, which then has none of its own.
func (m *Market) RemoveSpaceQuota(
	ctx context.Context, actor backstay.Actor, id backstay.QuotaID, from backstay.SpaceID,
) error {
	q, err := m.quotaFor(ctx, actor, true, id)
	if err != nil {
		return err
	}
	return m.Store.RemoveSpaceQuota(ctx, id, from, quotaEvent(actor, "remove", q, q.OrganizationID, from, nil))
}

// DeleteQuota accepts the end of a quota that nobody has.
func (m *Market) DeleteQuota(
	ctx context.Context, actor backstay.Actor, forSpaces bool, id backstay.QuotaID,
) (backstay.Job, error) {
	q, err := m.quotaFor(ctx, actor, forSpaces, id)
	if err != nil {
		return backstay.Job{}, err
	}
	switch {
	case id == backstay.DefaultQuota:
		return backstay.Job{}, backstay.Errorf(backstay.Invalid,
			"The quota '%s' cannot be deleted: every new organization begins with it.", q.Name)
	case len(q.OrganizationIDs)+len(q.SpaceIDs) > 0:
		return backstay.Job{}, QuotaInUse(forSpaces)
	}
	j := m.newJob(actor, deleteQuota, string(id), backstay.JobProcessing)
	j.Completed = quotaEvent(actor, "delete", q, q.OrganizationID, "", nil)
	return j, m.Store.AcceptJob(ctx, backstay.Event{}, j)
}

// QuotaInUse is why a quota that somebody has is not deleted, in Cloud Foundry's words.
func QuotaInUse(forSpaces bool) error {
	if forSpaces {
		return backstay.Errorf(backstay.Invalid,
			"This quota is applied to one or more spaces. Remove this quota from all spaces before deleting.")
	}
	return backstay.Errorf(backstay.Invalid,
		"This quota is applied to one or more organizations. Apply different quotas to those organizations before "+
			"deleting.")
}

func quotaEvent(
	actor backstay.Actor, verb string, q backstay.Quota, o backstay.OrganizationID, s backstay.SpaceID, d details,
) backstay.Event {
	kind := "organization_quota"
	if q.OrganizationID != "" {
		kind = "space_quota"
	}
	return newEvent(actor, kind+"."+verb, backstay.Target{ID: string(q.ID), Type: kind, Name: q.Name}, place{o, s}, d)
}

// asked returns the request as an event shows it.
func (u QuotaUpdate) asked() details {
	d := details{}
	if u.Name != nil {
		d["name"] = *u.Name
	}
	if u.PaidPlans != nil {
		d["paid_services_allowed"] = *u.PaidPlans
	}
	for name, limit := range u.Limits {
		d[string(name)] = limit // null: no limit
	}
	return request(d)
}

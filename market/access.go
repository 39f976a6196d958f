package market

import (
	"context"

	"github.com/backstay/backstay"
)

// NewVisibility asks that a plan be visible to somebody from now on.
type NewVisibility struct {
	Type            backstay.Visibility
	OrganizationIDs []backstay.OrganizationID // for which; none for other types
	More            bool                      // beside those that it is for already
}

// Visibility returns a plan, whose type of visibility says who may see it, and the organizations that it is
// enabled for, as far as the actor may see those.
func (m *Market) Visibility(
	ctx context.Context, actor backstay.Actor, id backstay.PlanID,
) (backstay.Plan, []backstay.Organization, error) {
	p, err := m.Plan(ctx, actor, id)
	if err != nil || p.Visibility != backstay.OrganizationPlan {
		return p, nil, err
	}
	l, err := m.Organizations(ctx, actor, OrganizationFilter{PlanIDs: []backstay.PlanID{id}})
	return p, l.Items, err
}

// SetVisibility changes who may see a plan and have new instances of it. Instances that exist stay.
func (m *Market) SetVisibility(ctx context.Context, actor backstay.Actor, id backstay.PlanID, n NewVisibility) error {
	p, err := m.planFor(ctx, actor, id, Administrators)
	if err != nil {
		return err
	}
	if p.Visibility == backstay.SpacePlan {
		return errSpacePlan
	}
	if err := n.check(); err != nil {
		return err
	}
	asked := details{"type": n.Type}
	if n.OrganizationIDs != nil {
		asked["organizations"] = n.OrganizationIDs
	}
	e := visibilityEvent(actor, "update", id, place{}, request(asked))
	return m.Store.SetPlanVisibility(ctx, id, n.Type, n.OrganizationIDs, n.More, e)
}

// errSpacePlan refuses to change for whom a plan is that is a space's own.
var errSpacePlan = backstay.Errorf(backstay.Invalid, "cannot update plans with visibility type 'space'")

func (n NewVisibility) check() error {
	switch n.Type {
	case backstay.OrganizationPlan:
		if len(n.OrganizationIDs) == 0 {
			return backstay.Errorf(backstay.Invalid, "Organizations can't be blank")
		}
	case backstay.PublicPlan, backstay.AdminPlan:
		if len(n.OrganizationIDs) > 0 {
			return backstay.Errorf(backstay.Invalid, "Organizations must be blank for the type '%s'", n.Type)
		}
	default:
		return backstay.Errorf(backstay.Invalid, "Type must be one of 'public', 'admin', 'organization'")
	}
	return nil
}

// RemoveVisibility hides a plan from an organization that it was enabled for.
func (m *Market) RemoveVisibility(
	ctx context.Context, actor backstay.Actor, id backstay.PlanID, organization backstay.OrganizationID,
) error {
	p, err := m.planFor(ctx, actor, id, Administrators)
	if err != nil {
		return err
	}
	if p.Visibility != backstay.OrganizationPlan {
		return backstay.Errorf(backstay.Invalid, "Cannot delete visibilities from non-org-restricted plans")
	}
	if _, err := m.Organization(ctx, actor, organization); err != nil {
		return err
	}
	e := visibilityEvent(actor, "delete", id, place{organization: organization}, nil)
	return m.Store.RemovePlanOrganization(ctx, id, organization, e)
}

// checkEnabled refuses the plan if it is hidden from the organization of one of the spaces.
func (m *Market) checkEnabled(
	ctx context.Context, p backstay.Plan, o backstay.Offering, spaces []backstay.SpaceID,
) error {
	for _, id := range spaces {
		l, err := m.Store.Plans(
			ctx, PlanFilter{IDs: []backstay.PlanID{p.ID}, Access: Access{SpaceIDs: []backstay.SpaceID{id}}},
		)
		if err != nil {
			return err
		}
		if len(l.Items) > 0 {
			continue
		}
		at, in, err := m.Whereabouts(ctx, []backstay.SpaceID{id})
		if err != nil {
			return err
		}
		if len(at) > 0 && len(in) > 0 {
			return backstay.Errorf(backstay.Invalid,
				"Access to service %s and plan %s is not enabled in %s/%s.", o.Name, p.Name, in[0].Name, at[0].Name)
		}
	}
	return nil
}

// planFor returns a plan. It is NotFound if the actor may not see the plan, and Forbidden if the actor has none of
// the roles.
func (m *Market) planFor(
	ctx context.Context, actor backstay.Actor, id backstay.PlanID, may Roles,
) (backstay.Plan, error) {
	p, err := m.Plan(ctx, actor, id)
	if err != nil {
		return p, err
	}
	return p, m.permit(ctx, actor, place{}, may)
}

func visibilityEvent(actor backstay.Actor, verb string, id backstay.PlanID, at place, d details) backstay.Event {
	return newEvent(
		actor, "service_plan_visibility."+verb, backstay.Target{ID: string(id), Type: "service_plan_visibility"}, at,
		d,
	)
}

// buyablePlan returns a plan of which the actor may have an instance at that place. It is Invalid if the plan is
// not for sale, or hidden from the place's organization, even if the actor is an administrator who sees it: what
// counts is whose the instance will be.
func (m *Market) buyablePlan(
	ctx context.Context, actor backstay.Actor, id backstay.PlanID, at place,
) (backstay.Plan, error) {
	l, err := m.Store.Plans(ctx, PlanFilter{IDs: []backstay.PlanID{id}, Access: Access{Viewer: viewer(actor)}})
	p, err := single(l, err, "Service plan")
	if backstay.KindOf(err) == backstay.NotFound || err == nil && !p.Available {
		return p, backstay.Errorf(backstay.Invalid,
			"Invalid service plan. Ensure that the service plan exists, is available, and you have access to it. "+
				"An administrator gives access.")
	}
	if err != nil {
		return p, err
	}
	l, err = m.Store.Plans(
		ctx,
		PlanFilter{
			IDs:    []backstay.PlanID{id},
			Access: Access{SpaceIDs: []backstay.SpaceID{at.space}},
		},
	)
	if err == nil && len(l.Items) == 0 && p.Visibility == backstay.SpacePlan {
		return p, backstay.Errorf(backstay.Invalid,
			"Invalid service plan. The plan '%s' is another space's own. Ensure that the service plan is visible in your "+
				"current space.", p.Name)
	}
	if err == nil && len(l.Items) == 0 {
		err = backstay.Errorf(backstay.Invalid,
			"Invalid service plan. The plan '%s' is not enabled in this organization. Ensure that the service plan "+
				"is visible in your current space.", p.Name)
	}
	return p, err
}

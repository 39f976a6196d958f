package market

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

func (m *Market) deleteAppSteps(j backstay.Job) []step.Step {
	id := backstay.AppID(j.Resource)
	return []step.Step{
		{Name: "market.delete-app.emptied", Do: func(ctx context.Context) error {
			return m.unbindAll(ctx, j, BindingFilter{AppIDs: []backstay.AppID{id}})
		}},
		{Name: "market.delete-app.removed", Do: func(ctx context.Context) error {
			return m.Store.RemoveApp(ctx, id, backstay.Event{})
		}},
		m.completed("market.delete-app.recorded", j),
	}
}

func (m *Market) deleteSpaceSteps(j backstay.Job) []step.Step {
	id := backstay.SpaceID(j.Resource)
	return []step.Step{
		{Name: "market.delete-space.emptied", Do: func(ctx context.Context) error { return m.emptySpace(ctx, j, id) }},
		{Name: "market.delete-space.removed", Do: func(ctx context.Context) error {
			return m.Store.RemoveSpace(ctx, id, backstay.Event{})
		}},
		m.completed("market.delete-space.recorded", j),
	}
}

func (m *Market) deleteOrganizationSteps(j backstay.Job) []step.Step {
	id := backstay.OrganizationID(j.Resource)
	return []step.Step{
		{Name: "market.delete-organization.emptied", Do: func(ctx context.Context) error {
			return m.emptyOrganization(ctx, j, id)
		}},
		{Name: "market.delete-organization.recorded", Do: func(ctx context.Context) error {
			return m.Store.FinishDeleteOrganization(ctx, id, j.ID)
		}},
	}
}

func (m *Market) deleteRoleSteps(j backstay.Job) []step.Step {
	return []step.Step{
		{Name: "market.delete-role.removed", Do: func(ctx context.Context) error {
			return absentIsFine(m.Store.RemoveRole(ctx, backstay.RoleID(j.Resource)))
		}},
		m.completed("market.delete-role.recorded", j),
	}
}

func (m *Market) deleteQuotaSteps(j backstay.Job) []step.Step {
	return []step.Step{
		{Name: "market.delete-quota.removed", Do: func(ctx context.Context) error {
			return m.Store.RemoveQuota(ctx, backstay.QuotaID(j.Resource))
		}},
		m.completed("market.delete-quota.recorded", j),
	}
}

// completed is the last step of a job whose resource is already gone.
func (m *Market) completed(name string, j backstay.Job) step.Step {
	return step.Step{Name: name, Do: func(ctx context.Context) error {
		return m.Store.FinishJob(ctx, backstay.Job{ID: j.ID, State: backstay.JobComplete})
	}}
}

// What follows ends everything that is in something whose end was asked for. Each end is recorded as an event of
// whoever asked.

func (m *Market) emptyOrganization(ctx context.Context, j backstay.Job, id backstay.OrganizationID) error {
	spaces, err := m.Store.Spaces(ctx, SpaceFilter{OrganizationIDs: []backstay.OrganizationID{id}})
	if err != nil {
		return err
	}
	for _, s := range spaces.Items {
		if err := m.emptySpace(ctx, j, s.ID); err != nil {
			return err
		}
		if err := m.Store.RemoveSpace(ctx, s.ID, spaceEvent(j.By, "delete-request", s, nil)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Market) emptySpace(ctx context.Context, j backstay.Job, id backstay.SpaceID) error {
	at, err := m.placeOf(ctx, id)
	if err != nil {
		return absentIsFine(err)
	}
	instances, err := m.Store.Instances(ctx, InstanceFilter{SpaceIDs: []backstay.SpaceID{id}})
	if err != nil {
		return err
	}
	for _, in := range instances.Items {
		if err := m.endInstance(ctx, j, in, at); err != nil {
			return err
		}
	}
	if err := m.unbindAll(ctx, j, BindingFilter{AppSpaceIDs: []backstay.SpaceID{id}}); err != nil {
		return err // from what other spaces share with this one
	}
	apps, err := m.Store.Apps(ctx, AppFilter{SpaceIDs: []backstay.SpaceID{id}})
	if err != nil {
		return err
	}
	for _, a := range apps.Items {
		if err := m.Store.RemoveApp(ctx, a.ID, appEvent(j.By, "delete-request", a, at, nil)); err != nil {
			return err
		}
	}
	return m.endSpaceBrokers(ctx, j, at)
}

// endInstance ends all bindings of an instance, and then the instance itself.
func (m *Market) endInstance(ctx context.Context, j backstay.Job, in backstay.Instance, at place) error {
	if err := m.unbindAll(ctx, j, BindingFilter{InstanceIDs: []backstay.InstanceID{in.ID}}); err != nil {
		return err
	}
	if in.Type == backstay.UserProvided {
		return m.Store.RemoveInstance(ctx, in.ID, userProvidedEvent(j.By, "delete", in, at, nil), nil)
	}
	s, err := m.supplyOf(ctx, in)
	if err != nil {
		return err
	}
	if err := m.deprovision(ctx, s, j, in.ID); err != nil {
		return err
	}
	return m.Store.RemoveInstance(ctx, in.ID, instanceEvent(j.By, "delete", in, at, nil), nil)
}

func (m *Market) unbindAll(ctx context.Context, j backstay.Job, f BindingFilter) error {
	bindings, err := m.Store.Bindings(ctx, f)
	if err != nil {
		return err
	}
	for _, b := range bindings.Items {
		if b.LastOperation.State == backstay.InProgress { // or what is being made would outlive its row
			return backstay.Errorf(backstay.Busy,
				"An operation for a service binding is in progress. Try again when it has ended.")
		}
		if b.InstanceType == backstay.Managed {
			if err := m.unbind(ctx, j, b); err != nil {
				return err
			}
		}
		at, err := m.placeOf(ctx, b.SpaceID)
		if err != nil {
			return err
		}
		if err := m.Store.RemoveBinding(
			ctx, b.ID, bindingEvent(j.By, "delete", b, at, bindingDetails(b, nil)), nil,
		); err != nil {
			return err
		}
	}
	return nil
}

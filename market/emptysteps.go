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
			return m.unbindAll(ctx, j.By, BindingFilter{AppIDs: []backstay.AppID{id}})
		}},
		{Name: "market.delete-app.removed", Do: func(ctx context.Context) error { return m.Store.RemoveApp(ctx, id, backstay.Event{}) }},
		m.completed("market.delete-app.recorded", j),
	}
}

func (m *Market) deleteSpaceSteps(j backstay.Job) []step.Step {
	id := backstay.SpaceID(j.Resource)
	return []step.Step{
		{Name: "market.delete-space.emptied", Do: func(ctx context.Context) error { return m.emptySpace(ctx, j.By, id) }},
		{Name: "market.delete-space.removed", Do: func(ctx context.Context) error { return m.Store.RemoveSpace(ctx, id, backstay.Event{}) }},
		m.completed("market.delete-space.recorded", j),
	}
}

func (m *Market) deleteOrganizationSteps(j backstay.Job) []step.Step {
	id := backstay.OrganizationID(j.Resource)
	return []step.Step{
		{Name: "market.delete-organization.emptied", Do: func(ctx context.Context) error { return m.emptyOrganization(ctx, j.By, id) }},
		{Name: "market.delete-organization.recorded", Do: func(ctx context.Context) error { return m.Store.FinishDeleteOrganization(ctx, id, j.ID) }},
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
		{Name: "market.delete-quota.removed", Do: func(ctx context.Context) error { return m.Store.RemoveQuota(ctx, backstay.QuotaID(j.Resource)) }},
		m.completed("market.delete-quota.recorded", j),
	}
}

// completed is the last step of a job whose resource is already gone.
func (m *Market) completed(name string, j backstay.Job) step.Step {
	return step.Step{Name: name, Do: func(ctx context.Context) error {
		return m.Store.FinishJob(ctx, backstay.Job{ID: j.ID, State: backstay.JobComplete})
	}}
}

// What follows ends things for whoever asked for the end of what they are in, and records each as theirs.

func (m *Market) emptyOrganization(ctx context.Context, by backstay.Actor, id backstay.OrganizationID) error {
	spaces, err := m.Store.Spaces(ctx, SpaceFilter{OrganizationIDs: []backstay.OrganizationID{id}})
	if err != nil {
		return err
	}
	for _, s := range spaces.Items {
		if err := m.emptySpace(ctx, by, s.ID); err != nil {
			return err
		}
		if err := m.Store.RemoveSpace(ctx, s.ID, spaceEvent(by, "delete-request", s, nil)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Market) emptySpace(ctx context.Context, by backstay.Actor, id backstay.SpaceID) error {
	at, err := m.in(ctx, id)
	if err != nil {
		return absentIsFine(err)
	}
	instances, err := m.Store.Instances(ctx, InstanceFilter{SpaceIDs: []backstay.SpaceID{id}})
	if err != nil {
		return err
	}
	for _, in := range instances.Items {
		if err := m.endInstance(ctx, by, in, at); err != nil {
			return err
		}
	}
	if err := m.unbindAll(ctx, by, BindingFilter{AppSpaceIDs: []backstay.SpaceID{id}}); err != nil {
		return err // from what other spaces share with this one
	}
	apps, err := m.Store.Apps(ctx, AppFilter{SpaceIDs: []backstay.SpaceID{id}})
	if err != nil {
		return err
	}
	for _, a := range apps.Items {
		if err := m.Store.RemoveApp(ctx, a.ID, appEvent(by, "delete-request", a, at, nil)); err != nil {
			return err
		}
	}
	return nil
}

// endInstance unbinds an instance from everything, and ends it.
func (m *Market) endInstance(ctx context.Context, by backstay.Actor, in backstay.Instance, at place) error {
	if err := m.unbindAll(ctx, by, BindingFilter{InstanceIDs: []backstay.InstanceID{in.ID}}); err != nil {
		return err
	}
	if in.Type == backstay.UserProvided {
		return m.Store.RemoveInstance(ctx, in.ID, userProvidedEvent(by, "delete", in, at, nil), nil)
	}
	if err := absentIsFine(m.Broker.Deprovision(ctx, in.ID)); err != nil {
		return err
	}
	if err := m.awaitGone(ctx, in.ID); err != nil {
		return err
	}
	return m.Store.RemoveInstance(ctx, in.ID, instanceEvent(by, "delete", in, at, nil), nil)
}

func (m *Market) unbindAll(ctx context.Context, by backstay.Actor, f BindingFilter) error {
	bindings, err := m.Store.Bindings(ctx, f)
	if err != nil {
		return err
	}
	for _, b := range bindings.Items {
		if b.LastOperation.State == backstay.InProgress { // or what is being made would outlive its row
			return backstay.Errorf(backstay.Busy, "An operation for a service binding is in progress. Try again when it has ended.")
		}
		if b.InstanceType == backstay.Managed {
			if err := absentIsFine(m.Broker.Unbind(ctx, b.InstanceID, b.ID)); err != nil {
				return err
			}
		}
		at, err := m.in(ctx, b.SpaceID)
		if err != nil {
			return err
		}
		if err := m.Store.RemoveBinding(ctx, b.ID, bindingEvent(by, "delete", b, at, bindingDetails(b, nil)), nil); err != nil {
			return err
		}
	}
	return nil
}

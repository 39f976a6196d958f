package market

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

func (m *Market) deleteAppSteps(j backstay.Job) []step.Step {
	id := backstay.AppID(j.Resource)
	return []step.Step{
		{Name: "market.delete-app.emptied", Do: func(ctx context.Context) error { return m.unbindAll(ctx, BindingFilter{AppIDs: []backstay.AppID{id}}) }},
		{Name: "market.delete-app.removed", Do: func(ctx context.Context) error { return m.Store.RemoveApp(ctx, id) }},
		m.completed("market.delete-app.recorded", j),
	}
}

func (m *Market) deleteSpaceSteps(j backstay.Job) []step.Step {
	id := backstay.SpaceID(j.Resource)
	return []step.Step{
		{Name: "market.delete-space.emptied", Do: func(ctx context.Context) error { return m.emptySpace(ctx, id) }},
		{Name: "market.delete-space.removed", Do: func(ctx context.Context) error { return m.Store.RemoveSpace(ctx, id) }},
		m.completed("market.delete-space.recorded", j),
	}
}

func (m *Market) deleteOrganizationSteps(j backstay.Job) []step.Step {
	id := backstay.OrganizationID(j.Resource)
	return []step.Step{
		{Name: "market.delete-organization.emptied", Do: func(ctx context.Context) error { return m.emptyOrganization(ctx, id) }},
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

func (m *Market) emptyOrganization(ctx context.Context, id backstay.OrganizationID) error {
	spaces, err := m.Store.Spaces(ctx, SpaceFilter{OrganizationIDs: []backstay.OrganizationID{id}})
	if err != nil {
		return err
	}
	for _, s := range spaces.Items {
		if err := m.emptySpace(ctx, s.ID); err != nil {
			return err
		}
		if err := m.Store.RemoveSpace(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (m *Market) emptySpace(ctx context.Context, id backstay.SpaceID) error {
	instances, err := m.Store.Instances(ctx, InstanceFilter{SpaceIDs: []backstay.SpaceID{id}})
	if err != nil {
		return err
	}
	for _, in := range instances.Items {
		if err := m.endInstance(ctx, in.ID); err != nil {
			return err
		}
	}
	apps, err := m.Store.Apps(ctx, AppFilter{SpaceIDs: []backstay.SpaceID{id}})
	if err != nil {
		return err
	}
	for _, a := range apps.Items {
		if err := m.Store.RemoveApp(ctx, a.ID); err != nil {
			return err
		}
	}
	return nil
}

// endInstance unbinds an instance from everything, and ends it.
func (m *Market) endInstance(ctx context.Context, id backstay.InstanceID) error {
	if err := m.unbindAll(ctx, BindingFilter{InstanceIDs: []backstay.InstanceID{id}}); err != nil {
		return err
	}
	if err := absentIsFine(m.Broker.Deprovision(ctx, id)); err != nil {
		return err
	}
	if err := m.awaitGone(ctx, id); err != nil {
		return err
	}
	return m.Store.RemoveInstance(ctx, id, nil)
}

func (m *Market) unbindAll(ctx context.Context, f BindingFilter) error {
	bindings, err := m.Store.Bindings(ctx, f)
	if err != nil {
		return err
	}
	for _, b := range bindings.Items {
		if err := absentIsFine(m.Broker.Unbind(ctx, b.InstanceID, b.ID)); err != nil {
			return err
		}
		if err := m.Store.RemoveBinding(ctx, b.ID, nil); err != nil {
			return err
		}
	}
	return nil
}

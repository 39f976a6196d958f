package market

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// InstanceChange is an update of an instance that its broker has to be asked for. Name, tags and metadata are
// the market's own, and change when it is accepted; the rest does when the broker has done it.
type InstanceChange struct {
	Update
	Tags            []string // nil: unchanged
	PlanID          backstay.PlanID
	MaintenanceInfo *backstay.MaintenanceInfo
	Parameters      []byte                  // sealed; nil: unchanged
	ConsentOf       backstay.OrganizationID // whose managers' consent it uses up; empty: it needs none
}

// UpdateInstance changes the name, tags, metadata, plan, parameters and maintenance info of an instance. If its
// broker has to be asked there is a job for that; otherwise, and always for a user-provided instance, the change
// is done at once and the job's ID is empty.
func (m *Market) UpdateInstance(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID, u InstanceUpdate,
) (backstay.Instance, backstay.Job, error) {
	in, at, err := m.instanceFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return in, backstay.Job{}, err
	}
	if in.Type == backstay.UserProvided {
		in, err = m.updateUserProvided(ctx, actor, in, at, u)
		return in, backstay.Job{}, err
	}
	if field := u.userProvidedField(); field != "" {
		return in, backstay.Job{}, errUnknownField(field)
	}
	from, err := m.supplyOf(ctx, in)
	if err != nil {
		return in, backstay.Job{}, err
	}
	if in.LastOperation.State == backstay.InProgress && !u.onlyMetadata() {
		return in, backstay.Job{}, ErrBusy(in)
	}
	to, asks, err := m.checkChange(ctx, actor, in, at, from, u)
	if err != nil {
		return in, backstay.Job{}, err
	}
	if err := u.checkNames(); err != nil {
		return in, backstay.Job{}, err
	}
	if asks {
		if err := NotCreated(in, "updated"); err != nil {
			return in, backstay.Job{}, err
		}
		j, err := m.acceptInstanceUpdate(ctx, actor, in, at, from, to, u)
		return in, j, err
	}
	e := instanceEvent(actor, "update", in, at, request(u.asked()))
	if u.onlyMetadata() {
		in, err = m.updateInstanceMetadata(ctx, actor, in, u.Metadata, e)
	} else {
		in, err = m.Store.UpdateInstance(ctx, id, u.Update, u.Tags, e)
	}
	if err == nil {
		m.tellOfLabel(ctx, from.offering.BrokerID, u.Metadata)
	}
	return in, backstay.Job{}, err
}

// target is what an update makes of an instance, as far as its broker has to be asked.
type target struct {
	plan            backstay.Plan
	maintenanceInfo *backstay.MaintenanceInfo
}

// checkChange refuses changes that the catalog does not allow. It returns the plan and the version that the
// instance is to have, and whether the broker has to be asked for anything.
func (m *Market) checkChange(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, at place, from supply, u InstanceUpdate,
) (to target, asks bool, err error) {
	to = target{from.plan, in.MaintenanceInfo}
	otherPlan := u.PlanID != nil && *u.PlanID != in.PlanID
	upgraded := u.MaintenanceVersion != nil && !isVersion(in.MaintenanceInfo, *u.MaintenanceVersion)
	renamed := u.Name != nil && *u.Name != in.Name && from.offering.AllowContextUpdates
	if otherPlan {
		if to.plan, err = m.checkPlanChange(ctx, actor, in, at, from, *u.PlanID); err != nil {
			return to, false, err
		}
		to.maintenanceInfo = to.plan.MaintenanceInfo
	}
	if upgraded {
		if err := checkMaintenance(to.plan, otherPlan, *u.MaintenanceVersion); err != nil {
			return to, false, err
		}
		to.maintenanceInfo = to.plan.MaintenanceInfo
	}
	if err := checkParameters(u.Parameters); err != nil {
		return to, false, err
	}
	asks = otherPlan || upgraded || renamed || u.Parameters != nil
	if asks && !otherPlan && !from.plan.Available {
		err = errInaccessiblePlan(u.Parameters != nil, renamed)
	}
	return to, asks, err
}

// errInaccessiblePlan is why an instance whose plan is not on sale any more is not changed, but to another plan.
func errInaccessiblePlan(parameters, renamed bool) error {
	what := "maintenance_info"
	switch {
	case parameters:
		what = "parameters"
	case renamed:
		what = "name"
	}
	return backstay.Errorf(backstay.Invalid,
		"Cannot update %s of a service instance that belongs to inaccessible plan", what)
}

func isVersion(m *backstay.MaintenanceInfo, version string) bool {
	return m != nil && m.Version == version
}

// checkPlanChange returns the plan that an instance is to change to.
func (m *Market) checkPlanChange(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, at place, from supply, id backstay.PlanID,
) (backstay.Plan, error) {
	if !from.plan.PlanUpdateable {
		return backstay.Plan{}, backstay.Errorf(backstay.Unsupported, "The service does not support changing plans.")
	}
	p, err := m.buyablePlan(ctx, actor, id, at)
	if err != nil {
		return p, err
	}
	if p.OfferingID != from.offering.ID {
		return p, backstay.Errorf(backstay.Invalid, "Service plan relates to a different service offering.")
	}
	if p.Bindable {
		return p, nil
	}
	bindings, err := m.Store.Bindings(ctx, BindingFilter{InstanceIDs: []backstay.InstanceID{in.ID}})
	if err == nil && len(bindings.Items) > 0 {
		err = backstay.Errorf(backstay.Invalid,
			"The service plan is invalid: cannot switch to non-bindable plan when service bindings exist")
	}
	return p, err
}

// checkMaintenance refuses a version that is not the plan's, and any together with another plan, whose version the
// instance gets anyway.
func checkMaintenance(p backstay.Plan, otherPlan bool, version string) error {
	switch {
	case otherPlan:
		return backstay.Errorf(backstay.Invalid,
			"maintenance_info should not be changed when switching to different plan.")
	case p.MaintenanceInfo == nil:
		return backstay.Errorf(backstay.Unsupported,
			"The service broker does not support upgrades for service instances created from this plan.")
	case !isVersion(p.MaintenanceInfo, version):
		return backstay.Errorf(backstay.Invalid,
			"maintenance_info.version requested is invalid. Please ensure the catalog "+
				"is up to date and you are providing a version supported by this service plan.")
	}
	return nil
}

func (m *Market) acceptInstanceUpdate(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, at place, from supply, to target,
	u InstanceUpdate,
) (backstay.Job, error) {
	consentOf, err := m.consentFor(ctx, in, at, from, u.Parameters)
	if err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, updateInstance, string(in.ID), backstay.JobPolling)
	renamed := in
	if u.Name != nil {
		renamed.Name = *u.Name
	}
	if a, ok := from.broker.(backstay.Admitter); ok {
		err := a.AdmitUpdate(ctx, from.update(callOf(j), renamed, at, to, u.Parameters))
		if to.plan.ID != in.PlanID && m.newerVersion(ctx, err, from.offering, &to.maintenanceInfo, to.plan) {
			err = a.AdmitUpdate(ctx, from.update(callOf(j), renamed, at, to, u.Parameters))
		}
		if err != nil {
			return backstay.Job{}, err
		}
	}
	j.Completed = instanceEvent(actor, "update", in, at, request(u.asked()))
	change := InstanceChange{
		Update: u.Update, Tags: u.Tags, PlanID: to.plan.ID, MaintenanceInfo: to.maintenanceInfo,
		Parameters: m.sealParameters(changeContext(in.ID), u.Parameters), ConsentOf: consentOf,
	}
	start := instanceEvent(actor, "start_update", in, at, request(u.asked()))
	return j, m.Store.AcceptInstanceUpdate(ctx, in.ID, change, m.inProgress(backstay.Update), start, j)
}

// changeContext names the parameters that an update changes, so that no sealed value can be moved there.
func changeContext(id backstay.InstanceID) string { return "instance/" + string(id) + "/change" }

// update returns the request for what differs between an instance and what it is to become.
func (s supply) update(
	call backstay.Call, in backstay.Instance, at place, to target, parameters []byte,
) backstay.UpdateRequest {
	r := backstay.UpdateRequest{
		Call: call, InstanceID: in.ID, ServiceID: s.offering.ServiceID, Context: contextOf(in, at),
		Parameters: parameters,
		Previous: backstay.PreviousValues{
			PlanID: s.plan.ServicePlanID, OrganizationID: at.organization, SpaceID: at.space,
			MaintenanceInfo: in.MaintenanceInfo,
		},
	}
	if to.plan.ID != s.plan.ID {
		r.PlanID = to.plan.ServicePlanID
	}
	if !sameVersion(to.maintenanceInfo, in.MaintenanceInfo) {
		r.MaintenanceInfo = to.maintenanceInfo
	}
	return r
}

func sameVersion(a, b *backstay.MaintenanceInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Version == b.Version
}

func (m *Market) updateInstanceSteps(j backstay.Job) []step.Step {
	var asked asking
	requested := step.Step{Name: "market.update.asked", Do: func(ctx context.Context) (err error) {
		asked, err = m.askForUpdate(ctx, j)
		return err
	}}
	return append([]step.Step{requested}, m.ending(j, &asked, "market.update")...)
}

// askForUpdate asks the broker for the change that was accepted. Until the end of the change is recorded the
// instance stays as it was, so a second call asks for the same.
func (m *Market) askForUpdate(ctx context.Context, j backstay.Job) (asking, error) {
	in, at, from, err := m.jobInstance(ctx, j)
	if err != nil {
		return asking{}, err
	}
	change, err := m.Store.InstanceChange(ctx, in.ID)
	if err != nil {
		return asking{}, err
	}
	plans, err := m.Store.Plans(ctx, PlanFilter{IDs: []backstay.PlanID{change.PlanID}})
	plan, err := single(plans, err, "Service plan")
	if err != nil {
		return asking{}, err
	}
	parameters, err := m.openParameters(changeContext(in.ID), change.Parameters)
	if err != nil {
		return asking{}, err
	}
	to := target{plan, change.MaintenanceInfo}
	r := from.update(callOf(j), in, at, to, parameters)
	if err := m.named(ctx, &r.Context); err != nil {
		return asking{}, err
	}
	answer, err := from.broker.Update(ctx, r)
	if err != nil {
		return asking{}, withLeft(err)
	}
	return m.newAsking(ctx, j, from, backstay.Update, answer.Async, answer.Operation, answer.DashboardURL)
}

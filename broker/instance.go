package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"reflect"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// AdmitProvision refuses what Provision or the backend would refuse.
func (b *Broker) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	agreed, err := b.agree(ctx, r)
	if err != nil {
		return err
	}
	agreed.Spec.Instance, agreed.Spec.Generation = r.InstanceID, 1
	return b.Backends[Local].Admit(ctx, agreed.Spec)
}

func (b *Broker) agree(ctx context.Context, r backstay.ProvisionRequest) (terms.Terms, error) {
	p, err := b.findPlan(ctx, r.ServiceID, r.PlanID)
	if err == nil {
		err = p.CheckMaintenanceInfo(r.MaintenanceInfo)
	}
	if err != nil {
		return terms.Terms{}, err
	}
	agreed, err := p.terms().New(r.Parameters, rand.Uint64())
	return agreed.Terms, err
}

// Provision accepts an instance and records the job that will bring it up.
func (b *Broker) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	kept, err := b.Store.Instance(ctx, r.InstanceID)
	if backstay.KindOf(err) == backstay.NotFound {
		kept, err = b.acceptInstance(ctx, r)
	}
	if err == nil {
		err = b.sameRequest(kept, r)
	}
	if err != nil {
		return backstay.Provisioned{}, err
	}
	made := kept.Operation.Type != backstay.Create || kept.Operation.State == backstay.Succeeded
	return backstay.Provisioned{Async: !made, Existed: made, Operation: kept.Operation.ID}, nil
}

func (b *Broker) acceptInstance(ctx context.Context, r backstay.ProvisionRequest) (Instance, error) {
	agreed, err := b.agree(ctx, r)
	if err != nil {
		return Instance{}, err
	}
	agreed.Spec.Instance = r.InstanceID
	create := newOperation(r.InstanceID, backstay.Create, "The service instance is about to be created.")
	if create.Wanted, err = b.want(r.InstanceID, r.PlanID, agreed); err != nil {
		return Instance{}, err
	}
	return b.Store.AddInstance(ctx, Instance{
		ID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID, Parameters: create.Parameters, Backend: Local,
		OrganizationID: r.Context.OrganizationID, SpaceID: r.Context.SpaceID,
	}, create)
}

// newOperation is one that a user has asked for, and that begins at once.
func newOperation(in backstay.InstanceID, t backstay.OperationType, description string) Operation {
	return Operation{
		ID: backstay.OperationKey(uuid.NewString()), InstanceID: in, Cause: ByUser,
		Operation: backstay.Operation{Type: t, State: backstay.InProgress, Description: description},
	}
}

// want seals what has been agreed on, as what an operation wants.
func (b *Broker) want(id backstay.InstanceID, p backstay.ServicePlanID, agreed terms.Terms) (Wanted, error) {
	sealed, err := b.sealSpec(id, agreed.Spec)
	return Wanted{PlanID: p, Parameters: b.seal(agreed.Parameters, parametersContext(id)), Spec: sealed}, err
}

// sameRequest refuses an id that is in use for something else (OSB 2.17, "Provisioning", 409).
func (b *Broker) sameRequest(kept Instance, r backstay.ProvisionRequest) error {
	parameters, err := b.open(kept.Parameters, parametersContext(kept.ID))
	if err != nil {
		return err
	}
	if kept.ServiceID != r.ServiceID || kept.PlanID != r.PlanID || kept.SpaceID != r.Context.SpaceID ||
		!bytes.Equal(parameters, r.Parameters) {
		return backstay.Errorf(backstay.Taken, "Service instance %s exists with other attributes.", r.InstanceID)
	}
	return nil
}

// AdmitUpdate refuses what Update or the backend would refuse.
func (b *Broker) AdmitUpdate(ctx context.Context, r backstay.UpdateRequest) error {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return err
	}
	c, err := b.change(ctx, in, r)
	if err != nil || c.isNone() {
		return err
	}
	return b.admitChange(ctx, in, c)
}

// Update accepts what is to change of an instance and records the job that will change it. What changes nothing
// is done at once.
func (b *Broker) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return backstay.Updated{}, err
	}
	c, err := b.change(ctx, in, r)
	if err != nil {
		return backstay.Updated{}, err
	}
	if in.Busy {
		return b.sameUpdate(in, c)
	}
	if c.isNone() {
		return backstay.Updated{}, nil
	}
	if err := b.admitChange(ctx, in, c); err != nil {
		return backstay.Updated{}, err
	}
	op, err := b.beginUpdate(ctx, in, c)
	return backstay.Updated{Async: true, Operation: op.ID}, err
}

// change is an update that has been agreed on, before and after.
type change struct {
	from, to backstay.ServicePlanID
	before   terms.Accepted
	terms.Agreed
}

func (c change) isNone() bool { return c.from == c.to && !c.Changes(c.before) }

// change finds out what an update would make of an instance, or refuses it.
func (b *Broker) change(ctx context.Context, in Instance, r backstay.UpdateRequest) (c change, err error) {
	if c.before, err = b.before(in); err != nil {
		return c, err
	}
	c.from, c.to = in.PlanID, cmp.Or(r.PlanID, in.PlanID)
	from, err := b.findPlan(ctx, in.ServiceID, c.from)
	if err != nil && backstay.KindOf(err) != backstay.NotFound { // terms know of plans that are gone
		return c, err
	}
	to, asked := from, terms.Change{Parameters: r.Parameters, Upgrade: r.MaintenanceInfo != nil}
	if c.to != c.from {
		if to, err = b.findPlan(ctx, in.ServiceID, c.to); err != nil {
			return c, err
		}
		goal := to.terms()
		asked.Plan = &goal
	}
	if err := to.CheckMaintenanceInfo(r.MaintenanceInfo); err != nil {
		return c, err
	}
	c.Agreed, err = from.terms().Change(c.before, asked)
	return c, err
}

// before is what was accepted of an instance.
func (b *Broker) before(in Instance) (before terms.Accepted, err error) {
	if in.Spec == nil {
		return before, usable(in)
	}
	if before.Parameters, err = b.open(in.Parameters, parametersContext(in.ID)); err != nil {
		return before, err
	}
	before.Spec, err = b.openSpec(in.ID, in.Spec)
	return before, err
}

// sameUpdate refuses an update while an operation is in progress, unless that is the same update.
func (b *Broker) sameUpdate(in Instance, c change) (backstay.Updated, error) {
	op := in.Operation
	if op.Type == backstay.Update && op.State == backstay.InProgress && op.PlanID == c.to {
		wanted, err := b.open(op.Parameters, parametersContext(in.ID))
		if err != nil {
			return backstay.Updated{}, err
		}
		if op.Failure == "" && sameJSON(wanted, c.Parameters) {
			return backstay.Updated{Async: true, Operation: op.ID}, nil
		}
	}
	return backstay.Updated{}, errBusy(in.ID)
}

func errBusy(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.Busy, "An operation for service instance %s is in progress.", id)
}

// admitChange asks the backend whether it would take the Spec that a change comes to.
func (b *Broker) admitChange(ctx context.Context, in Instance, c change) error {
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	spec := c.Spec
	spec.Generation, spec.Served = in.Generation+1, nil
	return its.Admit(ctx, spec)
}

func (b *Broker) beginUpdate(ctx context.Context, in Instance, c change) (op Operation, err error) {
	op = newOperation(in.ID, backstay.Update, "The service instance is about to be updated.")
	if op.Wanted, err = b.want(in.ID, c.to, c.Terms); err != nil {
		return op, err
	}
	op.Generation = in.Generation
	return b.Store.BeginOperation(ctx, op)
}

// sameJSON tells whether two objects, or nil, say the same.
func sameJSON(a, b json.RawMessage) bool {
	var x, y map[string]any
	if a != nil && json.Unmarshal(a, &x) != nil || b != nil && json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	return len(x) == 0 && len(y) == 0 || reflect.DeepEqual(x, y)
}

// Deprovision accepts the end of an instance. Whatever else is in progress is ended by it.
func (b *Broker) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	op := newOperation(r.InstanceID, backstay.Delete, "The service instance is about to be deleted.")
	kept, err := b.Store.ReplaceOperation(ctx, op)
	return backstay.Deprovisioned{Async: true, Operation: kept.ID}, err
}

// LastOperation tells how an operation on an instance comes along.
func (b *Broker) LastOperation(ctx context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	op, err := b.Store.LastOperation(ctx, r.InstanceID, r.Operation)
	return op.Operation, err
}

// AwaitOperation tells it as soon as there is something new.
func (b *Broker) AwaitOperation(
	ctx context.Context, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	op, err := b.Store.AwaitOperation(ctx, r.InstanceID, r.Operation, seen)
	return op.Operation, err
}

// Purge is a Deprovision that is waited for.
func (b *Broker) Purge(ctx context.Context, id backstay.InstanceID) error {
	answer, err := b.Deprovision(ctx, backstay.DeprovisionRequest{InstanceID: id})
	if err != nil {
		return absentIsFine(err)
	}
	var seen backstay.Operation
	for {
		op, err := b.Store.AwaitOperation(ctx, id, answer.Operation, seen)
		switch {
		case err != nil:
			return absentIsFine(err)
		case op.State == backstay.Failed:
			return backstay.Errorf(backstay.Unavailable, "%s", op.Description)
		}
		seen = op.Operation
	}
}

// FetchInstance tells an instance as it is in force. There is none until it has been made.
func (b *Broker) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err == nil && in.Spec == nil {
		err = backstay.Errorf(backstay.NotFound, "Service instance not found")
	}
	if err != nil {
		return backstay.FetchedInstance{}, err
	}
	parameters, err := b.open(in.Parameters, parametersContext(in.ID))
	return backstay.FetchedInstance{ServiceID: in.ServiceID, PlanID: in.PlanID, Parameters: parameters}, err
}

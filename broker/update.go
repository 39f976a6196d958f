package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"reflect"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// AdmitUpdate refuses what Update or the backend would refuse.
func (b *Broker) AdmitUpdate(ctx context.Context, r backstay.UpdateRequest) error {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err == nil {
		err = checkOffering(in, r.ServiceID)
	}
	if err != nil {
		return err
	}
	c, err := b.changeFor(ctx, in, r)
	if err != nil {
		return err
	}
	return b.admitChange(ctx, in, c)
}

// Overwrites tells whether parameters ask for a return to an earlier moment.
func (b *Broker) Overwrites(_ context.Context, parameters json.RawMessage) (bool, error) {
	return terms.Overwrites(parameters), nil
}

// RenameSources is for whoever divides us among platforms that have ids of their own.
func (b *Broker) RenameSources(
	parameters json.RawMessage, rename func(backstay.InstanceID) backstay.InstanceID,
) json.RawMessage {
	return terms.RenameSources(parameters, rename)
}

// Update accepts what is to change of an instance and records the job that will change it. Done at once is what
// changes nothing that the backend knows: to ask for what there is already, to move windows, to ask for a change in
// the next maintenance window, or to withdraw that.
func (b *Broker) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return backstay.Updated{}, err
	}
	if err := checkOffering(in, r.ServiceID); err != nil {
		return backstay.Updated{}, err
	}
	if op := in.Operation; r.RequestID != "" && r.RequestID == op.RequestID && op.Type == backstay.Update {
		return backstay.Updated{Async: op.State == backstay.InProgress, Operation: op.ID}, nil
	}
	c, err := b.changeFor(ctx, in, r)
	switch {
	case err != nil:
		return backstay.Updated{}, err
	case c.When != terms.Now || c.isNone() && (c.movesWindows() || !in.Busy):
		return b.arrange(ctx, in, c, r.RequestID)
	case in.Busy:
		return b.sameUpdate(in, c)
	}
	if err := b.admitChange(ctx, in, c); err != nil {
		return backstay.Updated{}, err
	}
	op := newOperation(in.ID, backstay.Update, "The service instance is about to be updated.")
	op.RequestID = r.RequestID
	if c.Origin != nil {
		op.Cause = ByRestore
	}
	op, err = b.beginChange(ctx, in, c, op)
	return backstay.Updated{Async: true, Operation: op.ID}, err
}

// change is a change of an instance that has been agreed on, before and after.
type change struct {
	from, to backstay.ServicePlanID
	toName   string // of the plan
	before   terms.Accepted
	terms.Agreed
}

// isNone tells that the instance has nothing to become.
func (c change) isNone() bool { return c.from == c.to && !c.Changes(c.before) }

func (c change) movesWindows() bool { return c.Chosen != c.before.Chosen }

// moved are the windows that are to be recorded, which are those that were chosen; zero if they stay.
func (c change) moved() (w terms.Windows) {
	if c.movesWindows() {
		w = c.Chosen
	}
	return w
}

// changeFor finds out what an update would make of an instance, or refuses it. To ask for what there is already, in the
// next maintenance window, is to withdraw what waits for that.
func (b *Broker) changeFor(ctx context.Context, in Instance, r backstay.UpdateRequest) (change, error) {
	to := cmp.Or(r.PlanID, in.PlanID)
	if r.MaintenanceInfo != nil {
		p, err := b.findPlan(ctx, in.ServiceID, to)
		if err == nil {
			err = p.CheckMaintenanceInfo(r.MaintenanceInfo)
		}
		if err != nil {
			return change{}, err
		}
	}
	// With a new plan the platform names the version that the catalog tells of it, whatever is asked for.
	upgrade := r.MaintenanceInfo != nil && to == in.PlanID
	c, err := b.agreeOnChange(ctx, in, to, terms.Change{Parameters: r.Parameters, Upgrade: upgrade})
	if c.When == terms.AtWindow && c.isNone() {
		c.When = terms.Withdraw
	}
	return c, err
}

// agreeOnChange agrees on a change of what is accepted of an instance, to the plan.
func (b *Broker) agreeOnChange(
	ctx context.Context, in Instance, to backstay.ServicePlanID, asked terms.Change,
) (c change, err error) {
	if c.before, err = b.accepted(in); err != nil {
		return c, err
	}
	c.from, c.to = in.PlanID, to
	if c.to != c.from {
		goal, err := b.findPlan(ctx, in.ServiceID, c.to)
		if err == nil && goal.backend != in.Backend {
			err = backstay.Errorf(backstay.Unsupported, "The service instance lives in %q, and service plan '%s' is of %q: a "+
				"service instance stays where it was made. Create a new one of that plan, and copy the data with the "+
				"database's own tools.", in.Backend, goal.Name, goal.backend)
		}
		if err != nil {
			return c, err
		}
		bought := goal.terms()
		asked.Plan, c.toName = &bought, goal.Name
	}
	from, unknown := b.planOf(ctx, in)
	c.Agreed, err = from.terms().Change(c.before, asked) // terms know of plans that are gone
	c.Spec.Backup = withKey(c.Spec.Backup)
	if unknown != nil && backstay.KindOf(unknown) != backstay.NotFound && (err != nil || !c.isNone()) {
		return c, unknown // with the backend away, only what it has no part in is agreed on
	}
	if err != nil {
		return c, err
	}
	return c, b.agreeOnBackups(ctx, in, &c)
}

// agreeOnBackups finds out which moment the instance is to return to, and counts another backup that is asked for.
func (b *Broker) agreeOnBackups(ctx context.Context, in Instance, c *change) (err error) {
	if c.Origin != nil {
		c.Spec.Origin, err = b.returnTo(ctx, in, c.Spec, *c.Origin)
		return err
	}
	if c.Spec.Backups == c.before.Spec.Backups {
		return nil
	}
	kept, err := b.backupsOf(ctx, in.Backend, in.ID)
	c.Spec.Backups = max(c.Spec.Backups, kept.Asked+1) // one that failed was answered, too
	return absentIsFine(err)
}

// accepted is what was agreed on of an instance. One without anything accepted is refused as unusable.
func (b *Broker) accepted(in Instance) (a terms.Accepted, err error) {
	if in.Spec == nil {
		return a, usable(in)
	}
	a.Windows, a.Chosen, a.Build = b.windowsOf(in.ID, in.ServiceID, in.Windows), in.Windows, in.Build
	a.Chance = chanceOf(in.ID)
	if a.Parameters, err = b.open(in.Parameters, parametersContext(in.ID)); err != nil {
		return a, err
	}
	a.Spec, err = b.openSpec(in.ID, in.Spec)
	return a, err
}

// arrange records a change that the backend has nothing to do for, or not now.
func (b *Broker) arrange(ctx context.Context, in Instance, c change, request string) (backstay.Updated, error) {
	if err := usable(in); err != nil {
		return backstay.Updated{}, err
	}
	done := newOperation(in.ID, backstay.Update, arranged(in, c))
	done.RequestID, done.State = request, backstay.Succeeded
	a := Arrangement{Operation: done, Windows: c.moved(), Withdraw: c.When == terms.Withdraw}
	if c.When == terms.AtWindow {
		if err := b.admitChange(ctx, in, c); err != nil && backstay.KindOf(err) != backstay.Unavailable {
			return backstay.Updated{}, err
		}
		a.Queue = b.queued(in, c)
	}
	return backstay.Updated{Operation: done.ID}, b.Store.Arrange(ctx, a)
}

// queued is the operation that waits for the maintenance window to make a change.
func (b *Broker) queued(in Instance, c change) *Operation {
	asked := Asked{Parameters: b.seal(c.Asked, parametersContext(in.ID))}
	if c.to != c.from {
		asked.PlanID, asked.PlanName = c.to, c.toName
	}
	return &Operation{
		ID: backstay.OperationKey(uuid.NewString()), InstanceID: in.ID, Cause: ByMaintenance, Asked: asked,
		Operation: backstay.Operation{
			Type: backstay.Update, State: Waiting, Description: "The service instance waits for its maintenance window.",
		},
	}
}

// sameUpdate refuses an update while an operation is in progress, unless that is the same update.
func (b *Broker) sameUpdate(in Instance, c change) (backstay.Updated, error) {
	op := in.Operation
	if op.Type != backstay.Update || op.State != backstay.InProgress || op.PlanID != c.to || op.Spec == nil {
		return backstay.Updated{}, errBusy(in.ID)
	}
	wanted, err := b.open(op.Parameters, parametersContext(in.ID))
	if err != nil {
		return backstay.Updated{}, err
	}
	spec, err := b.openSpec(in.ID, op.Spec)
	if err != nil {
		return backstay.Updated{}, err
	}
	if spec.Restarts != c.Spec.Restarts || spec.Failovers != c.Spec.Failovers || spec.Build != c.Spec.Build ||
		spec.Backups != c.Spec.Backups || !reflect.DeepEqual(spec.Origin, c.Spec.Origin) ||
		!sameJSON(wanted, c.Parameters) {
		return backstay.Updated{}, errBusy(in.ID)
	}
	return backstay.Updated{Async: true, Operation: op.ID}, nil
}

func errBusy(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.Busy, "An operation for service instance %s is in progress.", id)
}

// admitChange asks the backend whether it would take the Spec that a change comes to.
func (b *Broker) admitChange(ctx context.Context, in Instance, c change) error {
	if c.isNone() {
		return nil
	}
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	spec := c.Spec
	spec.Generation, spec.Served = in.Generation+1, nil
	return its.Admit(ctx, spec)
}

// beginChange records the operation that makes a change, with its job.
func (b *Broker) beginChange(ctx context.Context, in Instance, c change, op Operation) (Operation, error) {
	wanted, err := b.wantChange(in, c)
	if err != nil {
		return op, err
	}
	op.Wanted = wanted
	return b.Store.BeginOperation(ctx, op)
}

// wantChange seals what a change comes to, made of the generation that is accepted.
func (b *Broker) wantChange(in Instance, c change) (Wanted, error) {
	wanted, err := b.want(in.ID, c.to, c.Terms)
	wanted.Generation, wanted.Windows = in.Generation, c.moved()
	return wanted, err
}

// sameJSON tells whether two objects, or nil, say the same.
func sameJSON(a, b json.RawMessage) bool {
	var x, y map[string]any
	if a != nil && json.Unmarshal(a, &x) != nil || b != nil && json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	return len(x) == 0 && len(y) == 0 || reflect.DeepEqual(x, y)
}

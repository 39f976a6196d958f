package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// maintenancePause is the time between two looks at which maintenance windows are open.
const maintenancePause = 5 * time.Second

// newestMinor asks for the newest minor version, as users may.
var newestMinor = json.RawMessage(`{"update_minor_version_to_latest":true}`)

// Maintain begins what is due in the maintenance windows that are open now: of each instance the change that waits for
// it, then a minor upgrade if there is one, and then a drill if that is to be held. What it begins is an operation like
// any other. What could not be begun is due again at the next look.
func (b *Broker) Maintain(ctx context.Context) error {
	scheduled, err := b.Store.Schedule(ctx)
	if err != nil || len(scheduled) == 0 {
		return err
	}
	can, err := b.allInventories(ctx)
	plans, failures := b.Offered.allPlans(can), []error{err}
	views := make([]view, len(scheduled))
	for i, s := range scheduled {
		s.Windows = b.windowsOf(s.ID, s.ServiceID, s.Windows)
		p := plans[s.PlanID]
		views[i] = view{Scheduled: s, upgradable: p.backend == s.Backend && p.upgrades(s.Build)}
	}
	now := b.Now()
	failures = append(failures, b.lookForDrills(ctx, can, views, now))
	for _, v := range allDue(views, now) {
		if err := b.carryOut(ctx, v, now); err != nil && backstay.KindOf(err) != backstay.Busy {
			failures = append(failures, fmt.Errorf("instance %s: %w", v.ID, err))
		}
	}
	return errors.Join(failures...)
}

// upgrades tells whether there is a newer build than the given one, of the same version and for the same data.
func (p plan) upgrades(build string) bool {
	for version := range p.builds {
		if strings.HasPrefix(build, version+".") && p.builds.Newest(version, build) != build {
			return true
		}
	}
	return false
}

// isCurrent tells whether an instance with that build has what there is to have of the plan's version.
func (p plan) isCurrent(build string) bool {
	return strings.HasPrefix(build, p.engine.Version+".") && !p.upgrades(build)
}

// carryOut begins what is due of an instance. It is Busy if somebody else has changed the instance meanwhile.
func (b *Broker) carryOut(ctx context.Context, v view, now time.Time) error {
	in, err := b.Store.Instance(ctx, v.ID)
	if err != nil {
		return absentIsFine(err)
	}
	_, closes := v.Windows.Maintenance.Next(now)
	switch due(v, now) {
	case upgradeTask:
		return b.beginUpgrade(ctx, in, closes)
	case drillTask:
		_, err := b.beginDrill(ctx, in, closes)
		return err
	}
	if in.Pending.ID != v.Pending.ID {
		return errBusy(in.ID)
	}
	return b.startPending(ctx, in)
}

// beginUpgrade begins a minor upgrade, which is not tried again before the window closes. It is Busy while the instance
// does not serve: a new build cures nothing.
func (b *Broker) beginUpgrade(ctx context.Context, in Instance, closes time.Time) error {
	if err := b.ready(ctx, in); err != nil {
		return err
	}
	c, err := b.agreeOnChange(ctx, in, in.PlanID, terms.Change{Parameters: newestMinor})
	if err != nil || c.isNone() {
		return err
	}
	op := newOperation(in.ID, backstay.Update, "The service instance is about to be upgraded to "+c.Spec.Build+".")
	op.Cause, op.NotBefore = ByMaintenance, closes
	_, err = b.beginChange(ctx, in, c, op)
	return err
}

// startPending agrees once more on the change that waits for the window, since much may have changed meanwhile, and
// begins it. What cannot be agreed on any more ends as failed.
func (b *Broker) startPending(ctx context.Context, in Instance) error {
	c, err := b.agreeOnPending(ctx, in)
	switch {
	case isRefusal(err):
		return b.Store.FailOperation(ctx, in.Pending.ID, backstay.SentenceOf(err))
	case err != nil:
		return err
	case c.isNone():
		const done = "The service instance is as it was asked for already."
		return b.Store.SucceedOperation(ctx, in.Pending.ID, done, in.Serving)
	}
	wanted, err := b.wantChange(in, c)
	if err != nil {
		return err
	}
	_, err = b.Store.StartOperation(ctx, in.Pending.ID, wanted)
	return err
}

// isRefusal tells that terms do not allow what was asked for, or that it is not sold any more.
func isRefusal(err error) bool {
	switch backstay.KindOf(err) {
	case backstay.Invalid, backstay.Unsupported, backstay.NotFound:
		return err != nil
	}
	return false
}

func (b *Broker) agreeOnPending(ctx context.Context, in Instance) (change, error) {
	asked := in.Pending.Asked
	parameters, err := b.open(asked.Parameters, parametersContext(in.ID))
	if err != nil {
		return change{}, err
	}
	to := in.PlanID
	if asked.PlanID != "" {
		to = asked.PlanID
	}
	return b.agreeOnChange(ctx, in, to, terms.Change{Parameters: parameters})
}

// Watches tells that whoever wants to know of changes is told.
func (b *Broker) Watches(context.Context) bool { return true }

// AwaitChanges tells of which instances maintenance has begun or ended something.
func (b *Broker) AwaitChanges(
	ctx context.Context, after int64,
) (changed []backstay.InstanceID, seen int64, err error) {
	return b.Store.AwaitChanges(ctx, after)
}

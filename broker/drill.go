package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
)

// AllowDrills records whether drills of an instance may be held.
func (b *Broker) AllowDrills(ctx context.Context, id backstay.InstanceID, allowed bool) error {
	return b.Store.AllowDrills(ctx, id, allowed)
}

// HoldDrill begins a drill of an instance now, for an operator. Whether its users allow it, and CheckDrill does, the
// operator has looked.
func (b *Broker) HoldDrill(ctx context.Context, id backstay.InstanceID) (backstay.OperationKey, error) {
	in, err := b.Store.Instance(ctx, id)
	if err != nil {
		return "", err
	}
	return b.beginDrill(ctx, in, b.Now())
}

// lookForDrills finds out of which instances a drill is to be held now: those whose window is open, and which have had
// none in it, whoever has asked for that.
func (b *Broker) lookForDrills(ctx context.Context, can inventories, views []view, now time.Time) error {
	if !b.Drills {
		return nil
	}
	var failures []error
	for i, v := range views {
		opens, _ := v.Windows.Maintenance.Next(now)
		its, reached := b.Backends[v.Backend]
		if !v.MayDrill || v.Busy || now.Before(opens) || !reached || !b.Offered.isSeen(v.ServiceID, can[v.Backend]) {
			continue
		}
		s, err := its.Await(ctx, v.ID, 0)
		failures = append(failures, err)
		views[i].undrilled = err == nil && canDrill(s) && (s.Drill == nil || s.Drill.Began.Before(opens))
	}
	return errors.Join(failures...)
}

// CheckDrill refuses, as Unsupported, a drill of an instance from which nobody would learn anything.
func (b *Broker) CheckDrill(ctx context.Context, id backstay.InstanceID) error {
	in, err := b.Store.Instance(ctx, id)
	if err != nil {
		return err
	}
	can, err := b.inventories(ctx, []string{in.Backend})
	if err == nil && !b.Offered.isSeen(in.ServiceID, can[in.Backend]) {
		err = backstay.Errorf(backstay.Unsupported, "Of this service nobody sees what a restart costs clients: no drill is "+
			"held of it.")
	}
	return err
}

// isSeen tells whether it is seen what clients of a service feel while a drill is held of an instance, in a backend of
// that inventory. Of a service that is not offered any more it is not known beforehand.
func (c Catalog) isSeen(service backstay.ServiceID, its backend.Inventory) bool {
	o := c.offering(service)
	return o == nil || slices.ContainsFunc(its.Engines, func(v backend.EngineVersion) bool {
		return v.Engine == o.Engine && v.Drills
	})
}

// canDrill tells whether a drill could be held now. A standby that could not take over would keep the operation, and
// all who wait to change the instance, for as long as the window is open.
func canDrill(s backend.Status) bool {
	return s.Phase == backend.Running && (len(s.Nodes) < 2 || !s.Protected.IsZero())
}

// beginDrill has the standby of an instance take over, or restarts one that has none, as its developers could. It is
// not tried again before then. It is Busy while the instance does not serve.
func (b *Broker) beginDrill(ctx context.Context, in Instance, then time.Time) (backstay.OperationKey, error) {
	if err := b.ready(ctx, in); err != nil {
		return "", err
	}
	before, err := b.accepted(in)
	if err != nil {
		return "", err
	}
	asked, what := `{"reboot": true}`, "The service instance is about to be restarted, as a drill."
	if before.Spec.Nodes > 1 {
		asked, what = `{"reboot": true, "force_failover": true}`, "The standby is about to take over, as a drill."
	}
	c, err := b.agreeOnChange(ctx, in, in.PlanID, terms.Change{Parameters: json.RawMessage(asked)})
	if err != nil {
		return "", err
	}
	op := newOperation(in.ID, backstay.Update, what)
	op.Cause, op.NotBefore = ByMaintenance, then
	op, err = b.beginChange(ctx, in, c, op)
	return op.ID, err
}

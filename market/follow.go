package market

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/wait"
)

// How often a broker is asked about instances that are not settled, whoever else tells of them, and how long the
// market waits before it listens again to a broker that has failed.
const (
	settleEvery = 30 * time.Second
	listenAgain = time.Second
)

// Follow keeps true what the market says of instances while brokers change them of their own accord, as in maintenance
// windows, until ctx ends. It listens to a broker that is a [backstay.Watcher], asks each one regularly about the
// instances for which it has something pending, and a [backstay.TroubleTeller] about what is wrong with any of them.
func (m *Market) Follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.settleRegistered(ctx) })
	for id, b := range m.Brokers {
		g.Go(func() error { return m.settleRegularly(ctx, id) })
		if w, ok := b.(backstay.Watcher); ok {
			g.Go(func() error { return m.listen(ctx, id, w) })
		}
		if t, ok := b.(backstay.TroubleTeller); ok {
			g.Go(func() error { return m.watchTroubles(ctx, id, t) })
		}
	}
	return g.Wait()
}

func (m *Market) settleRegularly(ctx context.Context, of backstay.BrokerID) error {
	return wait.Until(ctx, wait.Every(settleEvery), func() (again bool, err error) {
		if err := m.Settle(ctx, of); err != nil && ctx.Err() == nil {
			m.Log.Warn("a broker was not asked about its instances; it is tried again", "broker", of, "error", err)
		}
		return true, nil
	})
}

// settleRegistered settles regularly with the brokers that somebody has registered by then. One that is slow keeps none
// of the others waiting for longer than it takes until they are asked again anyway.
func (m *Market) settleRegistered(ctx context.Context) error {
	return wait.Until(ctx, wait.Every(settleEvery), func() (again bool, err error) {
		l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{})
		if err != nil && ctx.Err() == nil {
			m.Log.Warn("the brokers were not listed; it is tried again", "error", err)
		}
		var g errgroup.Group
		for _, b := range l.Items {
			if b.URL != "" {
				g.Go(func() error { m.settleInTime(ctx, b.ID); return nil })
			}
		}
		return true, g.Wait()
	})
}

func (m *Market) settleInTime(ctx context.Context, of backstay.BrokerID) {
	limited, cancel := context.WithTimeout(ctx, settleEvery)
	defer cancel()
	if err := m.Settle(limited, of); err != nil && ctx.Err() == nil {
		m.Log.Warn("a broker was not asked about its instances; it is tried again", "broker", of, "error", err)
	}
}

// Settle asks a broker about all instances for which it has something pending.
func (m *Market) Settle(ctx context.Context, of backstay.BrokerID) error {
	ids, err := m.Store.UnsettledInstances(ctx, of)
	if err != nil {
		return err
	}
	return m.refreshAll(ctx, of, ids)
}

func (m *Market) listen(ctx context.Context, to backstay.BrokerID, w backstay.Watcher) error {
	return wait.Until(ctx, wait.Every(listenAgain), func() (again bool, err error) {
		for err == nil {
			err = m.listenOnce(ctx, to, w)
		}
		if ctx.Err() == nil {
			m.Log.Warn("the changes of a broker were not followed; it is tried again", "broker", to, "error", err)
		}
		return true, nil
	})
}

// listenOnce waits for the next changes of a broker and records them. Where it was is kept when they are recorded, so
// whoever takes its place records some of them again, which is no news then.
func (m *Market) listenOnce(ctx context.Context, to backstay.BrokerID, w backstay.Watcher) error {
	after, err := m.Store.SeenChanges(ctx, to)
	if err != nil {
		return err
	}
	changed, seen, err := w.AwaitChanges(ctx, after)
	if err != nil {
		return err
	}
	return step.Run(ctx, m.followSteps(to, changed, seen)...)
}

func (m *Market) followSteps(of backstay.BrokerID, changed []backstay.InstanceID, seen int64) []step.Step {
	return []step.Step{
		{Name: "market.follow.recorded", Do: func(ctx context.Context) error {
			return m.refreshAll(ctx, of, changed)
		}},
		{Name: "market.follow.seen", Do: func(ctx context.Context) error {
			return m.Store.KeepSeenChanges(ctx, of, seen)
		}},
	}
}

// refreshAll refreshes instances of a broker. One that cannot be refreshed now keeps none of the others waiting: it is
// to be settled later.
func (m *Market) refreshAll(ctx context.Context, of backstay.BrokerID, ids []backstay.InstanceID) error {
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{of}})
	known, err := single(l, err, "Service broker")
	if err != nil {
		return err
	}
	by := brokerActor(known)
	for _, id := range ids {
		err := m.refresh(ctx, by, id)
		if err == nil || backstay.KindOf(err) == backstay.NotFound { // it is on its way up or down, or gone
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.Log.Warn("an instance was not refreshed; it is tried again", "instance", id, "error", err)
		if err := m.Store.AwaitRefresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// errOvertaken is why something was not recorded that was found out while the instance changed.
var errOvertaken = errors.New("the instance changed meanwhile")

// refreshTries is how often an instance that changes while its broker is asked is asked about again at once.
const refreshTries = 3

// refresh records what a broker has made of an instance of its own accord.
func (m *Market) refresh(ctx context.Context, by backstay.Actor, id backstay.InstanceID) (err error) {
	for range refreshTries {
		if err = m.refreshOnce(ctx, by, id); !errors.Is(err, errOvertaken) {
			return err
		}
	}
	return err
}

func (m *Market) refreshOnce(ctx context.Context, by backstay.Actor, id backstay.InstanceID) error {
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{id}})
	in, err := single(l, err, "Service instance")
	if err != nil {
		return err
	}
	at, err := m.placeOf(ctx, in.SpaceID)
	if err != nil {
		return err
	}
	from, err := m.supplyOf(ctx, in)
	if err != nil {
		return err
	}
	call := callFor(backstay.Actor{}, "")
	last, err := m.lastTold(ctx, from, call, in)
	if err != nil {
		return err
	}
	found, err := m.inForce(ctx, from, call, id)
	if err != nil {
		return err
	}
	found.Pending = found.Pending || last.State == backstay.InProgress
	return m.Store.RefreshInstance(ctx, id, func(now backstay.Instance) (
		InForce, backstay.Operation, backstay.Event, error,
	) {
		if now.UpdatedAt != in.UpdatedAt || !sameOperation(now.LastOperation, in.LastOperation) {
			return found, last, backstay.Event{}, errOvertaken
		}
		after := retold(now.LastOperation, last)
		return found, after, changedBy(by, now, at, found, after), nil
	})
}

// lastTold is the last operation of an instance as its broker tells it. A broker that does not tell of changes need not
// know any more how an operation ended: what is recorded stays then.
func (m *Market) lastTold(
	ctx context.Context, from supply, call backstay.Call, in backstay.Instance,
) (backstay.Operation, error) {
	last, err := from.broker.LastOperation(ctx, from.lastOperation(call, in.ID, ""))
	if _, ok := from.broker.(backstay.Watcher); err != nil && !ok && passing(ctx, err) {
		return in.LastOperation, nil
	}
	return last, err
}

func sameOperation(a, b backstay.Operation) bool {
	return a.Type == b.Type && a.State == b.State && a.CreatedAt.Equal(b.CreatedAt)
}

// retold is the last operation of an instance as users are to see it, of which the broker tells something else now than
// was recorded: of the same end other words, or that a change of its own has come to another end since.
func retold(recorded, told backstay.Operation) backstay.Operation {
	switch {
	case recorded.State == backstay.InProgress || told.State == backstay.InProgress:
	case recorded.State == told.State:
		recorded.Description = cmp.Or(told.Description, recorded.Description)
	case recorded.State == backstay.Failed && recorded.Type != backstay.Update: // it never came to be, or is to end
	case told.UpdatedAt.After(recorded.UpdatedAt):
		recorded.Type, recorded.State = backstay.Update, told.State
		recorded.Description = cmp.Or(told.Description, string(backstay.Update)+" "+string(told.State))
	}
	return recorded
}

// changedBy is the event that a broker has changed what is in force of an instance, or has not made a change that it
// was to make of its own accord; none if there is nothing of either.
func changedBy(
	by backstay.Actor, in backstay.Instance, at place, found InForce, last backstay.Operation,
) backstay.Event {
	d := details{}
	if found.PlanID != "" && found.PlanID != in.PlanID {
		d["service_plan"] = found.PlanID
	}
	if v := found.MaintenanceInfo; v != nil && !sameVersion(v, in.MaintenanceInfo) {
		d["maintenance_info"] = details{"version": v.Version}
	}
	switch {
	case len(d) > 0:
		return instanceEvent(by, "update", in, at, d)
	case last.State == backstay.Failed && in.LastOperation.State != backstay.Failed:
		return instanceEvent(by, "update_failed", in, at, details{"reason": last.Description})
	}
	return backstay.Event{}
}

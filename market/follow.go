package market

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"sync"
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
	silentAgain = time.Minute // one that does not tell of changes

	registeredEvery = 5 * time.Second // between two looks at which brokers there are
)

// Follow keeps true what the market says of instances while brokers change them of their own accord, as in maintenance
// windows, until ctx ends. It listens to a broker that is a [backstay.Watcher], asks each one regularly about the
// instances for which it has something pending, and a [backstay.TroubleTeller] about what is wrong with any of them.
func (m *Market) Follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.followRegistered(ctx) })
	for id := range m.Brokers {
		g.Go(func() error { return m.followBroker(ctx, id) })
	}
	return g.Wait()
}

// followRegistered follows the brokers that somebody has registered, as long as they are.
func (m *Market) followRegistered(ctx context.Context) error {
	var followers sync.WaitGroup
	defer followers.Wait()
	followed := map[backstay.BrokerID]context.CancelFunc{}
	return wait.Until(ctx, wait.Every(registeredEvery), func() (again bool, err error) {
		l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{})
		if err != nil {
			if ctx.Err() == nil {
				m.Log.Warn("the brokers were not listed; it is tried again", "error", err)
			}
			return true, nil
		}
		gone := maps.Clone(followed)
		for _, b := range l.Items {
			delete(gone, b.ID)
			if b.URL == "" || followed[b.ID] != nil {
				continue
			}
			following, stop := context.WithCancel(ctx)
			followed[b.ID] = stop
			followers.Go(func() { _ = m.followBroker(following, b.ID) }) // which ends when it is stopped
		}
		for id, stop := range gone {
			stop()
			delete(followed, id)
		}
		return true, nil
	})
}

// followBroker follows one broker, until ctx ends.
func (m *Market) followBroker(ctx context.Context, id backstay.BrokerID) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.settleRegularly(ctx, id) })
	g.Go(func() error { return m.listen(ctx, id) })
	g.Go(func() error { return m.watchTroubles(ctx, id) })
	if _, ok := m.Brokers[id]; !ok {
		g.Go(func() error { return m.watchCatalog(ctx, id) })
	}
	return g.Wait()
}

func (m *Market) settleRegularly(ctx context.Context, of backstay.BrokerID) error {
	return wait.Until(ctx, wait.Every(settleEvery), func() (again bool, err error) {
		if err := m.Settle(ctx, of); err != nil && ctx.Err() == nil {
			m.Log.Warn("a broker was not asked about its instances; it is tried again", "broker", of, "error", err)
		}
		if err := m.TellDrills(ctx, of); err != nil && ctx.Err() == nil {
			m.Log.Warn("a broker did not hear which drills are allowed; it is tried again", "broker", of, "error", err)
		}
		return true, nil
	})
}

// Settle asks a broker about all instances for which it has something pending.
func (m *Market) Settle(ctx context.Context, of backstay.BrokerID) error {
	ids, err := m.Store.UnsettledInstances(ctx, of)
	if err != nil {
		return err
	}
	return m.refreshAll(ctx, of, ids)
}

// listen records what a broker tells of its changes, until ctx ends.
func (m *Market) listen(ctx context.Context, to backstay.BrokerID) error {
	return m.hear(ctx, func() (time.Duration, error) { return 0, m.listenOnce(ctx, to) }, func(err error) {
		m.Log.Warn("the changes of a broker were not followed; it is tried again", "broker", to, "error", err)
	})
}

// hear has a broker tell something again and again, until ctx ends, each time after the pause that tell returns. One
// that fails is left alone for longer and longer, and one that does not tell such a thing may do so later.
func (m *Market) hear(ctx context.Context, tell func() (time.Duration, error), failed func(error)) error {
	for failures := listenAgain; ; {
		pause, err := tell()
		switch {
		case err == nil:
			failures = listenAgain
		case ctx.Err() != nil:
		case backstay.KindOf(err) == backstay.Unsupported:
			pause = silentAgain
		default:
			failed(err)
			pause, failures = failures, min(2*failures, settleEvery)
		}
		if err := wait.Pause(ctx, pause); err != nil {
			return err
		}
	}
}

// errSilent is the error of a broker that does not tell what it is asked for.
var errSilent = backstay.Errorf(backstay.Unsupported, "The service broker does not tell that.")

// watches tells whether a broker tells of its changes.
func watches(ctx context.Context, b backstay.Broker) bool {
	w, ok := b.(backstay.Watcher)
	return ok && w.Watches(ctx)
}

// listenOnce waits for the next changes of a broker and records them. Where it was is kept when they are recorded, so
// whoever takes its place records some of them again, which is no news then.
func (m *Market) listenOnce(ctx context.Context, to backstay.BrokerID) error {
	b, err := m.broker(ctx, to)
	if err != nil {
		return err
	}
	if !watches(ctx, b) {
		return errSilent
	}
	after, err := m.Store.SeenChanges(ctx, to)
	if err != nil {
		return err
	}
	changed, seen, err := b.(backstay.Watcher).AwaitChanges(ctx, after)
	if err != nil || len(changed) == 0 && seen == after {
		return err
	}
	own, err := m.ownOf(ctx, to, changed)
	if err != nil {
		return err
	}
	return step.Run(ctx, m.followSteps(to, own, seen)...)
}

// ownOf are those of the instances that are a broker's: it may speak of no other's.
func (m *Market) ownOf(
	ctx context.Context, of backstay.BrokerID, ids []backstay.InstanceID,
) (own []backstay.InstanceID, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: ids, BrokerIDs: []backstay.BrokerID{of}})
	for _, in := range l.Items {
		own = append(own, in.ID)
	}
	return own, err
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
	if err != nil && passing(ctx, err) && !watches(ctx, from.broker) {
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

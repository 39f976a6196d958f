package market_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// silent is a broker that tells of nothing unless it is asked: what else it can do is hidden.
type silent struct{ backstay.Broker }

// newFollowingFloor is a floor where plans may be paid, before a broker that tells of its changes, or not.
func newFollowingFloor(t *testing.T, tells bool) *floor {
	b := newListener()
	b.Updateable = true
	var seen backstay.Broker = b
	if !tells {
		seen = silent{b}
	}
	f := newFloorOf(t, markettest.NewWith(t, seen), b)
	f.allowPaidPlans(t)
	return f
}

// awaitInstance waits until an instance is as it should be, asking the broker where that tells nothing.
func (f *floor) awaitInstance(
	t *testing.T, id backstay.InstanceID, tells bool, want func(backstay.Instance) bool,
) backstay.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var in backstay.Instance
	err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		if !tells {
			if err := f.Settle(ctx, markettest.Broker.ID); err != nil {
				return false, err
			}
		}
		in, err = f.Instance(ctx, markettest.Admin, id)
		return err == nil && !want(in), err
	})
	if err != nil {
		t.Fatalf("it is %+v: %v", in, err)
	}
	return in
}

var atWindow = json.RawMessage(`{"apply_at_maintenance_window":true}`)

// TestAQueuedChangeWaits asks for another plan at the next maintenance window, and opens the window.
func TestAQueuedChangeWaits(t *testing.T) {
	t.Parallel()
	for name, tells := range map[string]bool{"a broker that tells": true, "a broker that is asked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFollowingFloor(t, tells)
			id, medium := f.create(t, "db"), f.planNamed(t, "M-dedicated-15")
			j := f.update(t, id, market.InstanceUpdate{PlanID: medium, Parameters: atWindow})
			if j.State != backstay.JobComplete {
				t.Fatalf("to queue it ended as %s: %s", j.State, j.Sentence)
			}
			in, err := f.Instance(t.Context(), markettest.Admin, id)
			must(t, err)
			if in.PlanID == *medium || !in.Pending || in.LastOperation.State != backstay.Succeeded ||
				!strings.Contains(in.LastOperation.Description, "(pending: ") {
				t.Errorf("while the change waits it is %+v", in)
			}
			f.wantBill(t, id, "Free")
			f.bind(t, id, f.apps[0].ID) // a wish keeps nobody waiting

			f.broker.OpenWindow(id)
			in = f.awaitInstance(t, id, tells, func(in backstay.Instance) bool { return in.PlanID == *medium })
			if in.Pending || strings.Contains(in.LastOperation.Description, "pending") {
				t.Errorf("when the window has passed it is %+v", in)
			}
			f.wantBill(t, id, "Free", "M-dedicated-15")
			f.wantEvents(t, id, "create", "start_update", "update", "update")
			f.wantBrokersEvent(t, id, details{"service_plan": string(*medium)})
		})
	}
}

type details = map[string]any

// wantBill checks which plans an instance has had, as usage tells, and that each of them costs until the next.
func (f *floor) wantBill(t *testing.T, id backstay.InstanceID, plans ...string) {
	t.Helper()
	l, err := f.UsageEvents(t.Context(), markettest.Admin, market.UsageFilter{})
	must(t, err)
	var events []backstay.UsageEvent
	for _, e := range l.Items {
		if e.InstanceID == id {
			events = append(events, e)
		}
	}
	if len(events) != len(plans) {
		t.Fatalf("usage is %+v; want that of %q", events, plans)
	}
	from := events[0].CreatedAt.Add(-time.Hour)
	until := events[len(events)-1].CreatedAt.Add(24 * time.Hour)
	charges, err := market.Usage(t.Context(), f.Store, from, until)
	must(t, err)
	billed := map[string]float64{}
	for _, c := range charges {
		billed[c.Plan], _ = c.Hours.Float64()
	}
	for i, e := range events {
		end := until
		if i+1 < len(events) {
			end = events[i+1].CreatedAt
		}
		hours := end.Sub(e.CreatedAt).Hours()
		if got := billed[plans[i]]; e.PlanName != plans[i] || got < hours-1e-6 || got > hours+1e-6 {
			t.Errorf("%s is billed for %f hours; want %s for %f", e.PlanName, got, plans[i], hours)
		}
	}
	if len(billed) != len(plans) {
		t.Errorf("billed are %v; want %q", billed, plans)
	}
}

// wantBrokersEvent checks the last event of an instance: that the broker has changed it, and what.
func (f *floor) wantBrokersEvent(t *testing.T, id backstay.InstanceID, want details) {
	t.Helper()
	l, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{TargetIDs: []string{string(id)}})
	must(t, err)
	last, got := l.Items[len(l.Items)-1], details{}
	must(t, json.Unmarshal(last.Data, &got))
	by := last.Actor
	if last.Type != "audit.service_instance.update" || !by.Broker || by.Username != markettest.Broker.Name ||
		string(by.UserID) != string(markettest.Broker.ID) {
		t.Errorf("the last event is %+v", last)
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("it tells %v; want %v", got, want)
		}
	}
}

// TestAQueuedChangeIsWithdrawn asks that nothing be done at the window after all.
func TestAQueuedChangeIsWithdrawn(t *testing.T) {
	t.Parallel()
	f := newFollowingFloor(t, false)
	id := f.create(t, "db")
	f.update(t, id, market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15"), Parameters: atWindow})
	f.update(t, id, market.InstanceUpdate{Parameters: json.RawMessage(`{"apply_at_maintenance_window":false}`)})
	in, err := f.Instance(t.Context(), markettest.Admin, id)
	must(t, err)
	if in.Pending || strings.Contains(in.LastOperation.Description, "pending") {
		t.Errorf("it is %+v", in)
	}
	f.broker.OpenWindow(id)
	must(t, f.Settle(t.Context(), markettest.Broker.ID))
	f.wantInstance(t, id, "Free", "", "update succeeded")
	f.wantBill(t, id, "Free")
}

// TestAWindowIsMissed has a change fail that waited for the window, and a newer one be made by the broker.
func TestAWindowIsMissed(t *testing.T) {
	t.Parallel()
	f := newFollowingFloor(t, true)
	id, medium := f.create(t, "db"), f.planNamed(t, "M-dedicated-15")
	f.update(t, id, market.InstanceUpdate{PlanID: medium, Parameters: atWindow})
	f.broker.MissWindow(id, "It is too much.")
	in := f.awaitInstance(t, id, true, func(in backstay.Instance) bool { return in.LastOperation.State == backstay.Failed })
	if op := in.LastOperation; op.Type != backstay.Update || op.Description != "It is too much." || in.Pending {
		t.Errorf("it is %+v", in)
	}
	f.wantInstance(t, id, "Free", "", "update failed")
	f.wantBill(t, id, "Free")
	must(t, f.Store.AwaitRefresh(t.Context(), id))
	must(t, f.Settle(t.Context(), markettest.Broker.ID)) // which finds nothing new
	f.wantEvents(t, id, "create", "start_update", "update", "update_failed")
	f.bind(t, id, f.apps[0].ID)
}

// TestAnOldEndIsNoNews keeps an update that the broker had nothing to do with as succeeded, though the last one that
// the broker knows of has failed.
func TestAnOldEndIsNoNews(t *testing.T) {
	t.Parallel()
	f := newFollowingFloor(t, false)
	id, nothing := f.create(t, "db"), market.InstanceUpdate{Parameters: json.RawMessage(`{"enable_extensions":[]}`)}
	f.update(t, id, nothing)
	f.update(t, id, market.InstanceUpdate{Parameters: json.RawMessage(`{"enable_extensions":["missing"]}`)})
	must(t, f.Settle(t.Context(), markettest.Broker.ID))
	f.update(t, id, nothing)
	must(t, f.Store.AwaitRefresh(t.Context(), id))
	must(t, f.Settle(t.Context(), markettest.Broker.ID))
	in, err := f.Instance(t.Context(), markettest.Admin, id)
	must(t, err)
	if in.LastOperation.State != backstay.Succeeded || in.Pending {
		t.Errorf("it is %+v", in)
	}
}

// TestBrokersUpgradeOfTheirOwnAccord follows a broker to a newer version of the plan.
func TestBrokersUpgradeOfTheirOwnAccord(t *testing.T) {
	t.Parallel()
	f := newFollowingFloor(t, true)
	id := f.create(t, "db")
	f.broker.Release("15.2.0")
	must(t, f.KeepCatalog(t.Context(), markettest.Broker))
	f.awaitInstance(t, id, true, func(in backstay.Instance) bool { return in.Upgradable })
	f.broker.Change(id, func(r *backstay.ProvisionRequest) {
		r.MaintenanceInfo = &backstay.MaintenanceInfo{Version: "15.2.0"}
	})
	in := f.awaitInstance(t, id, true, func(in backstay.Instance) bool { return in.MaintenanceInfo.Version == "15.2.0" })
	if in.Upgradable {
		t.Errorf("it is %+v", in)
	}
	f.wantBrokersEvent(t, id, details{})
	f.wantBill(t, id, "Free")
}

// TestWhatIsNotKnownIsAskedFor learns the version of an instance from before there were any.
func TestWhatIsNotKnownIsAskedFor(t *testing.T) {
	t.Parallel()
	f := newFollowingFloor(t, false)
	f.broker.Updateable = false
	must(t, f.KeepCatalog(t.Context(), markettest.Broker))
	id := f.create(t, "db")
	f.broker.Updateable = true
	must(t, f.KeepCatalog(t.Context(), markettest.Broker))
	f.awaitInstance(t, id, true, func(in backstay.Instance) bool { return in.Upgradable && in.MaintenanceInfo == nil })
	f.broker.Change(id, func(r *backstay.ProvisionRequest) {
		r.MaintenanceInfo = &backstay.MaintenanceInfo{Version: "15.1.0"}
	})
	f.awaitInstance(t, id, false, func(in backstay.Instance) bool { return !in.Upgradable && in.MaintenanceInfo != nil })
}

// overtaken is a broker that is still answering what an instance is when that changes.
type overtaken struct {
	*listener
	armed atomic.Bool
	then  func()
}

func (o *overtaken) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	fetched, err := o.listener.FetchInstance(ctx, r)
	if o.armed.CompareAndSwap(true, false) {
		o.then()
	}
	return fetched, err
}

// TestWhatWasOvertakenIsAskedForAgain has a user change an instance while the market is still hearing what it was.
func TestWhatWasOvertakenIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b := &overtaken{listener: newListener()}
	b.Updateable = true
	f := newFloorOf(t, markettest.NewWith(t, silent{b}), b.listener)
	f.allowPaidPlans(t)
	id, medium := f.create(t, "db"), f.planNamed(t, "M-dedicated-15")
	must(t, f.Store.AwaitRefresh(t.Context(), id))
	b.then = func() { f.update(t, id, market.InstanceUpdate{PlanID: medium}) }
	b.armed.Store(true)
	must(t, f.Settle(t.Context(), markettest.Broker.ID))
	f.wantInstance(t, id, "M-dedicated-15", "", "update succeeded")
	f.wantBill(t, id, "Free", "M-dedicated-15")
}

// TestAFailedChangeCostsNothing asks for a plan that the instance does not come up with.
func TestAFailedChangeCostsNothing(t *testing.T) {
	t.Parallel()
	f := newFollowingFloor(t, false)
	id := f.create(t, "db")
	j := f.update(t, id, market.InstanceUpdate{
		PlanID: f.planNamed(t, "M-dedicated-15"), Parameters: json.RawMessage(`{"enable_extensions":["missing"]}`),
	})
	if j.State != backstay.JobFailed {
		t.Errorf("it ended as %s", j.State)
	}
	must(t, f.Settle(t.Context(), markettest.Broker.ID))
	f.wantInstance(t, id, "Free", "", "update failed")
	in, err := f.Instance(t.Context(), markettest.Admin, id)
	must(t, err)
	if in.LastOperation.Description != "The extension 'missing' is not installed." || in.Pending {
		t.Errorf("it is %+v", in)
	}
	f.wantBill(t, id, "Free")
	f.bind(t, id, f.apps[0].ID)
}

var _ backstay.Watcher = (*brokertest.Memory)(nil)

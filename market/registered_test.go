package market_test

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/osb/osbtest"
)

// chatty is a broker elsewhere that tells much, also of what is none of its business.
type chatty struct {
	*brokertest.Memory
	speaks func() []backstay.InstanceID // of these
}

func (c chatty) Unhealthy(context.Context) (map[backstay.InstanceID]string, error) {
	all := map[backstay.InstanceID]string{}
	for _, id := range c.speaks() {
		all[id] = "The engine has no memory."
	}
	return all, nil
}

// newFarFloor is a floor with a broker of its own, and the first plan of another one, which is reached over HTTP.
func newFarFloor(t *testing.T, far backstay.Broker) (*floor, backstay.PlanID) {
	b := newListener()
	m := markettest.NewAmong(t, testkit.Postgres(t), markettest.Seller{ServiceBroker: markettest.Broker, Broker: b})
	f := newFloorOf(t, m, b)
	m.Open = (&osb.Pool{}).Open
	j, err := f.CreateBroker(t.Context(), markettest.Admin, market.NewBroker{
		Name: "far", URL: osbtest.Serve(t, far).URL,
		Login: backstay.BrokerLogin{Username: osbtest.Username, Password: osbtest.Password},
	})
	id := backstay.BrokerID(f.do(t, j, err))
	plans, err := f.Plans(t.Context(), markettest.Admin, market.PlanFilter{
		BrokerIDs: []backstay.BrokerID{id}, ServicePlanIDs: []backstay.ServicePlanID{brokertest.MemoryFree},
	})
	must(t, err)
	must(t, f.SetVisibility(t.Context(), markettest.Admin, plans.Items[0].ID,
		market.NewVisibility{Type: backstay.PublicPlan}))
	return f, plans.Items[0].ID
}

// TestABrokerElsewhereIsHeard: what it changes of its own accord is recorded as of ours, and of another broker's
// instances it says nothing.
func TestABrokerElsewhereIsHeard(t *testing.T) {
	t.Parallel()
	var known []backstay.InstanceID
	far := chatty{brokertest.NewMemory(), func() []backstay.InstanceID { return known }}
	f, plan := newFarFloor(t, far)
	ours := f.create(t, "ours")
	j, err := f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{
		Name: "theirs", SpaceID: f.spaces[0].ID, PlanID: plan,
	})
	theirs := backstay.InstanceID(f.do(t, j, err))
	known = []backstay.InstanceID{ours, theirs}

	far.Change(theirs, func(r *backstay.ProvisionRequest) { r.PlanID = brokertest.MemoryMedium })
	f.awaitInstance(t, theirs, true, func(in backstay.Instance) bool { return in.PlanID != plan })
	l, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{TargetIDs: []string{string(theirs)}})
	must(t, err)
	if e := l.Items[len(l.Items)-1]; e.Type != "audit.service_instance.update" || e.Actor.Username != "far" {
		t.Errorf("it is recorded as %+v", e)
	}
	const sentence = "The service instance does not serve now. The engine has no memory."
	for id, want := range map[backstay.InstanceID]bool{ours: false, theirs: true} {
		in, err := f.Instance(t.Context(), markettest.Admin, id)
		must(t, err)
		if got := in.LastOperation.Description; (got == sentence) != want {
			t.Errorf("%s is told to be %q", in.Name, got)
		}
	}
}

// TestACatalogElsewhereIsLookedAt: a version that a broker of ours sells by now can be upgraded to, though nobody has
// updated the broker.
func TestACatalogElsewhereIsLookedAt(t *testing.T) {
	t.Parallel()
	far := brokertest.NewMemory()
	far.Updateable = true
	f, plan := newFarFloor(t, far)
	far.Release("2.0.0")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var version *backstay.MaintenanceInfo
	err := wait.Until(ctx, wait.Every(100*time.Millisecond), func() (again bool, err error) {
		p, err := f.Plan(ctx, markettest.Admin, plan)
		version = p.MaintenanceInfo
		return err == nil && (version == nil || version.Version != "2.0.0"), err
	})
	if err != nil {
		t.Fatalf("it is sold as %+v: %v", version, err)
	}
	plans, err := f.Plans(ctx, backstay.Actor{}, market.PlanFilter{
		ServicePlanIDs: []backstay.ServicePlanID{brokertest.MemoryMedium}, BrokerNames: []string{"far"},
	})
	must(t, err)
	if len(plans.Items) > 0 {
		t.Errorf("everybody sees %+v", plans.Items)
	}
}

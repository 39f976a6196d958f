package state_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/tenant"
)

// TestUsageOfClients records what an instance of a client of the broker costs, from when it serves until it is gone, each
// thing once; and nothing of what no client has.
func TestUsageOfClients(t *testing.T) {
	t.Parallel()
	s, err := state.Open(t.Context(), testkit.Postgres(t), slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(s.Close)
	ledger, client := s.Broker(), tenant.Tenant{ID: uuid.NewString(), Name: "korifi", MaxInstances: 9}
	must(t, s.Tenants().AddTenant(t.Context(), client, backstay.Event{}))
	price := func(plan string, amount float64) broker.Price {
		return broker.Price{PlanID: backstay.ServicePlanID(plan), Plan: plan, ServiceID: "f", Offering: "postgres",
			Costs: []backstay.Cost{{Amount: amount, Currency: "GBP", Unit: "MONTHLY"}}}
	}
	must(t, ledger.KeepPrices(t.Context(), []broker.Price{price("small", 1), price("large", 2)}))

	operation := func(in backstay.InstanceID, of backstay.OperationType, plan backstay.ServicePlanID) broker.Operation {
		return broker.Operation{
			ID: backstay.OperationKey(uuid.NewString()), InstanceID: in, Cause: broker.ByUser,
			Operation: backstay.Operation{Type: of, State: backstay.InProgress},
			Wanted:    broker.Wanted{PlanID: plan, Spec: []byte("spec")},
		}
	}
	succeed := func(op broker.Operation) { // at once and again, as by jobs that are taken up
		t.Helper()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := ledger.SucceedOperation(t.Context(), op.ID, "It serves.", broker.Serving{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	add := func(id backstay.InstanceID) broker.Operation {
		t.Helper()
		create := operation(id, backstay.Create, "small")
		_, err := ledger.AddInstance(t.Context(), broker.Instance{ID: id, Name: "db", PlanID: "small", Backend: "local"}, create)
		must(t, err)
		return create
	}
	wanted := []string{}
	want := func(more ...string) {
		t.Helper()
		wanted = append(wanted, more...)
		l, err := s.UsageEvents(t.Context(), market.UsageFilter{Order: market.Order{}})
		must(t, err)
		got := []string{}
		for _, u := range l.Items {
			got = append(got, fmt.Sprintf("%s %s %s %v", u.State, u.OrganizationName, u.PlanName, u.Costs[0].Amount))
			if u.OrganizationID != backstay.OrganizationID(client.ID) || u.SpaceName != "korifi" || u.InstanceName != "db" ||
				u.OfferingName != "postgres" || u.BrokerName != "backstay" {
				t.Errorf("event %+v", u)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.Errorf("events %q, want %q", got, wanted)
		}
	}

	of := backstay.InstanceID(uuid.NewString())
	c := tenant.Claim{Tenant: client.ID, InstanceID: of, ExternalID: "theirs", CreatedAt: time.Now()}
	must(t, s.Tenants().Claim(t.Context(), c, backstay.Event{}))
	for range 2 { // the second time by an id that was used before
		create := add(of)
		want()
		succeed(create)
		want("CREATED osb-client korifi small 1")
		grow, err := ledger.BeginOperation(t.Context(), operation(of, backstay.Update, "large"))
		must(t, err)
		want()
		succeed(grow)
		want("UPDATED osb-client korifi large 2")
		same, err := ledger.BeginOperation(t.Context(), operation(of, backstay.Update, "large"))
		must(t, err)
		succeed(same)
		for range 2 {
			must(t, ledger.KeepPrices(t.Context(), []broker.Price{price("large", 3)}))
		}
		want("UPDATED osb-client korifi large 3")
		must(t, s.Tenants().Release(t.Context(), "another"))
		for range 2 {
			must(t, ledger.RemoveInstance(t.Context(), of))
		}
		want("DELETED osb-client korifi large 3")
		must(t, ledger.KeepPrices(t.Context(), []broker.Price{price("large", 2)}))
	}

	ours := backstay.InstanceID(uuid.NewString())
	succeed(add(ours))
	must(t, ledger.RemoveInstance(t.Context(), ours))
	want()
	charges, err := market.Usage(t.Context(), s, time.Now().Add(-time.Hour), time.Now())
	if err != nil || len(charges) != 2 || charges[0].Organization != "osb-client korifi" {
		t.Errorf("the bill is %+v, %v", charges, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

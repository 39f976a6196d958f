package market_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13"
	"code.cloudfoundry.org/brokerapi/v13/domain"
	"code.cloudfoundry.org/brokerapi/v13/domain/apiresponses"
	"code.cloudfoundry.org/brokerapi/v13/fakes"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// cassandra is the broker that brokerapi has for its own tests, which makes and ends everything later.
type cassandra struct {
	fakes.FakeAsyncOnlyServiceBroker
}

// Services are the fake's, with a version of the plan, which the specification wants.
func (c *cassandra) Services(ctx context.Context) ([]domain.Service, error) {
	all, err := c.FakeAsyncOnlyServiceBroker.Services(ctx)
	all[0].Plans[0].MaintenanceInfo.Version = "1.2.3"
	return all, err
}

// TestBrokerOfBrokerAPI has a broker in the market that is written with brokerapi.
func TestBrokerOfBrokerAPI(t *testing.T) {
	t.Parallel()
	c := &cassandra{fakes.FakeAsyncOnlyServiceBroker{FakeServiceBroker: fakes.FakeServiceBroker{
		ProvisionedInstances: map[string]domain.ProvisionDetails{}, BoundBindings: map[string]domain.BindDetails{},
		InstanceLimit: 1, ServiceID: "service", PlanID: "plan", LastOperationState: domain.Succeeded,
		LastOperationDescription: "it is there", DashboardURL: "https://cassandra.example.org",
	}}}
	login := brokerapi.BrokerCredentials{Username: "platform", Password: "secret"}
	s := httptest.NewServer(brokerapi.New(c, slog.New(slog.DiscardHandler), login))
	t.Cleanup(s.Close)
	f, ctx, admin := newForeign(t), t.Context(), markettest.Admin
	id := backstay.BrokerID(f.must(t, f.register(t, s.URL)))
	plans, err := f.Plans(ctx, admin, market.PlanFilter{BrokerIDs: []backstay.BrokerID{id}})
	must(t, err)
	f.plan = plans.Items[0].ID
	must(t, f.SetVisibility(ctx, admin, f.plan, market.NewVisibility{Type: backstay.PublicPlan}))

	in := backstay.InstanceID(f.must(t, f.make(t, "keys")))
	got, err := f.Instance(ctx, admin, in)
	must(t, err)
	if got.LastOperation.Description != "it is there" || got.DashboardURL != c.DashboardURL ||
		got.MaintenanceInfo.Version != "1.2.3" {
		t.Errorf("it is %+v", got)
	}
	if d := c.ProvisionedInstances[string(in)]; d.MaintenanceInfo.Version != "1.2.3" || d.SpaceGUID != string(f.spaces[0].ID) {
		t.Errorf("the broker was asked for %+v", d)
	}
	if j := f.make(t, "more"); j.Sentence != "Service broker error: instance limit for this service has been reached" {
		t.Errorf("beyond the limit: %s: %s", j.State, j.Sentence)
	}
	d, err := f.BindingDetails(ctx, admin, f.bindKey(t, in))
	must(t, err)
	if d.Credentials["username"] == nil {
		t.Errorf("it gives %d credentials", len(d.Credentials))
	}
	f.ended(t, f.update(t, in, market.InstanceUpdate{Parameters: []byte(`{"billing-account": "a"}`)}))
	if !slices.Contains(c.UpdatedInstanceIDs, string(in)) {
		t.Error("it was not updated")
	}
	l, err := f.Bindings(ctx, admin, market.BindingFilter{InstanceIDs: []backstay.InstanceID{in}})
	must(t, err)
	j, err := f.DeleteBinding(ctx, admin, l.Items[0].ID)
	must(t, err)
	f.must(t, f.ended(t, j))
	c.LastOperationError = apiresponses.ErrInstanceDoesNotExist // as it is of one that has been ended
	j, err = f.DeleteInstance(ctx, admin, in)
	must(t, err)
	f.must(t, f.ended(t, j))
	if !slices.Contains(c.DeprovisionedInstanceIDs, string(in)) {
		t.Error("it was not ended")
	}
}

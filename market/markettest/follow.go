package markettest

import (
	"errors"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// whatIsInForceIsRecorded ends updates that asked for more than the broker has done.
func whatIsInForceIsRecorded(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	j := f.mustAsk(t, in, "other", "2.0.0", "sealed")
	found := market.InForce{
		PlanID: f.plan, MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.5.0"}, DashboardURL: "https://d.example.org",
		Pending: true,
	}
	must(t, f.FinishInstance(t.Context(), in.ID, operation(backstay.Update, backstay.Succeeded), found, complete(j)))
	f.wantPlan(t, in.ID, "plan", "1.5.0", backstay.Succeeded)
	f.wantUsage(t, market.UsageFilter{}, "CREATED db")
	l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{in.ID}})
	must(t, err)
	if got := l.Items[0]; !got.Pending || got.DashboardURL != found.DashboardURL {
		t.Errorf("recorded as %+v", got)
	}
}

// refreshed has the store record what is found in force, in the place of what the instance is.
func (f *fixture) refreshed(t *testing.T, id backstay.InstanceID, found market.InForce, said string, err error) error {
	t.Helper()
	e := newEvent("refreshed", string(id), f.org.ID)
	return f.RefreshInstance(t.Context(), id, func(in backstay.Instance) (
		market.InForce, backstay.Operation, backstay.Event, error,
	) {
		if in.ID != id {
			t.Errorf("it is given %+v", in)
		}
		last := in.LastOperation
		last.Description = said
		return found, last, e, err
	})
}

// aRefreshIsTakenWhole records plan, usage, event and description together, or none of them.
func aRefreshIsTakenWhole(t *testing.T, f *fixture) {
	in, refused := f.mustHave(t, "db"), errors.New("not now")
	found := market.InForce{PlanID: planID("other"), MaintenanceInfo: &backstay.MaintenanceInfo{Version: "2.0.0"}}
	if err := f.refreshed(t, in.ID, found, "It is so.", refused); !errors.Is(err, refused) {
		t.Errorf("refused with %v", err)
	}
	f.wantPlan(t, in.ID, "plan", "", backstay.Succeeded)
	f.wantUsage(t, market.UsageFilter{}, "CREATED db")

	must(t, f.refreshed(t, in.ID, found, "It is so.", nil))
	f.wantPlan(t, in.ID, "other", "2.0.0", backstay.Succeeded)
	f.wantUsage(t, market.UsageFilter{}, "CREATED db", "UPDATED db")
	l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{in.ID}})
	must(t, err)
	if got := l.Items[0].LastOperation.Description; got != "It is so." {
		t.Errorf("it is said that %s", got)
	}
	events, err := f.Events(t.Context(), market.EventFilter{TargetIDs: []string{string(in.ID)}})
	must(t, err)
	if len(events.Items) != 1 {
		t.Errorf("events are %+v", events.Items)
	}
	err = f.refreshed(t, "unknown", found, "", nil)
	wantError(t, err, backstay.NotFound, "Service instance not found")
}

// unsettledInstancesAreFound makes some that the broker must be asked about, and asks.
func unsettledInstancesAreFound(t *testing.T, f *fixture) {
	offerings := catalog("plan", "other")
	offerings[0].InstancesRetrievable = true
	offerings[0].Plans[0].MaintenanceInfo = &backstay.MaintenanceInfo{Version: "1.0.0"}
	unknown, pending, busy, settled := f.mustHave(t, "unknown"), f.mustHave(t, "pending"), f.mustHave(t, "busy"),
		f.mustHave(t, "settled")
	must(t, f.KeepCatalog(t.Context(), Broker, offerings, unrecorded))
	told := market.InForce{MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.0.0"}}
	for _, in := range []backstay.Instance{pending, busy, settled} {
		must(t, f.refreshed(t, in.ID, told, "", nil))
	}
	must(t, f.AwaitRefresh(t.Context(), pending.ID))
	must(t, f.AwaitRefresh(t.Context(), busy.ID))
	f.mustAsk(t, busy, "other", "1.0.0", "sealed")
	got, err := f.UnsettledInstances(t.Context(), Broker.ID)
	must(t, err)
	want := []backstay.InstanceID{unknown.ID, pending.ID}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("unsettled are %q; want %q", got, want)
	}
	must(t, f.KeepCatalog(t.Context(), another, nil, unrecorded))
	if got, err := f.UnsettledInstances(t.Context(), another.ID); err != nil || len(got) > 0 {
		t.Errorf("unsettled of another broker are %q, %v", got, err)
	}
}

func changesAreSeenOnwards(t *testing.T, f *fixture) {
	for _, want := range []int64{0, 1 << 40} {
		if want > 0 {
			must(t, f.KeepSeenChanges(t.Context(), Broker.ID, want))
		}
		if got, err := f.SeenChanges(t.Context(), Broker.ID); err != nil || got != want {
			t.Errorf("seen up to %d, %v; want %d", got, err, want)
		}
	}
	_, err := f.SeenChanges(t.Context(), another.ID)
	wantError(t, err, backstay.NotFound, "Service broker not found")
}

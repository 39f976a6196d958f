package market_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestACatalogIsLookedAtAnew asks a broker again and again what it offers, while it offers the same and when it offers
// something else.
func TestACatalogIsLookedAtAnew(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	first, err := f.KeepChangedCatalog(t.Context(), markettest.Broker.ID, nil)
	must(t, err)
	f.wantCatalogEvents(t, "service.create", "service_plan.create", "service_plan.create")
	again, err := f.KeepChangedCatalog(t.Context(), markettest.Broker.ID, first)
	must(t, err)
	f.wantCatalogEvents(t, "service.create", "service_plan.create", "service_plan.create")

	f.broker.Release("15.2.0")
	_, err = f.KeepChangedCatalog(t.Context(), markettest.Broker.ID, again)
	must(t, err)
	events := f.wantCatalogEvents(t, "service.create", "service_plan.create", "service_plan.create",
		"service_plan.update", "service_plan.update")
	last, told := events[len(events)-1], map[string]any{}
	must(t, json.Unmarshal(last.Data, &told))
	info, _ := told["maintenance_info"].(map[string]any)
	if len(told) != 1 || info["version"] != "15.2.0" || !last.Actor.Broker ||
		last.Actor.Username != markettest.Broker.Name || last.Target.Name != "Free" {
		t.Errorf("the last event is %+v of %s", last, last.Data)
	}
	p, err := f.Plan(t.Context(), markettest.Admin, *f.planNamed(t, "Free"))
	must(t, err)
	if p.MaintenanceInfo.Version != "15.2.0" {
		t.Errorf("on sale is %+v", p.MaintenanceInfo)
	}
}

// TestWhatIsOnSaleIsOutOfDate asks for instances and for another plan when the broker has a newer version already.
func TestWhatIsOnSaleIsOutOfDate(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	f.allowPaidPlans(t)
	first := f.create(t, "first")
	wantVersion := func(id backstay.InstanceID, version string, upgradable bool) {
		t.Helper()
		in, err := f.Instance(t.Context(), markettest.Admin, id)
		must(t, err)
		if in.MaintenanceInfo.Version != version || in.Upgradable != upgradable {
			t.Errorf("it has %s, to be upgraded: %t", in.MaintenanceInfo.Version, in.Upgradable)
		}
	}
	f.broker.Release("15.2.0")
	wantVersion(f.create(t, "second"), "15.2.0", false)
	wantVersion(first, "15.1.0", true)
	f.broker.Release("15.3.0")
	f.update(t, first, market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15")})
	wantVersion(first, "15.3.0", false)
	f.broker.Release("15.4.0")
	_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, first, market.InstanceUpdate{Parameters: []byte(`{"a":1}`)})
	wantSentence(t, err, "Unknown parameter: a.")
}

// wantCatalogEvents checks the types of the events of the catalog, and returns them.
func (f *floor) wantCatalogEvents(t *testing.T, types ...string) []backstay.Event {
	t.Helper()
	for i := range types {
		types[i] = "audit." + types[i]
	}
	l, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{
		Types: slices.Compact(slices.Sorted(slices.Values(types))),
	})
	must(t, err)
	var got []string
	for _, e := range l.Items {
		got = append(got, e.Type)
	}
	if !slices.Equal(got, types) {
		t.Fatalf("events are %q; want %q", got, types)
	}
	return l.Items
}

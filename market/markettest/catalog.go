package markettest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// another is a second broker, which knows nothing of the first.
var another = backstay.ServiceBroker{ID: "00000000-0000-4000-8000-0000000000b2", Name: "another"}

// aCatalogIsOneBrokers keeps the catalogs of two brokers, whose ids may be the same.
func aCatalogIsOneBrokers(t *testing.T, f *fixture) {
	theirs := catalog("plan", "theirs")
	must(t, f.KeepCatalog(t.Context(), another, theirs, unrecorded))
	f.wantOnSale(t, Broker.ID, "plan", "other")
	f.wantOnSale(t, another.ID, "plan", "theirs")
	must(t, f.KeepCatalog(t.Context(), Broker, nil, unrecorded))
	f.wantOnSale(t, Broker.ID)
	f.wantOnSale(t, another.ID, "plan", "theirs")
	must(t, f.KeepCatalog(t.Context(), Broker, catalog("plan"), unrecorded))
	must(t, f.KeepCatalog(t.Context(), another, nil, unrecorded))
	f.wantOnSale(t, Broker.ID, "plan")
	f.wantOnSale(t, another.ID)
}

func (f *fixture) wantOnSale(t *testing.T, from backstay.BrokerID, names ...string) {
	t.Helper()
	yes := true
	plans, err := f.Plans(t.Context(), market.PlanFilter{BrokerIDs: []backstay.BrokerID{from}, Available: &yes})
	must(t, err)
	var got []string
	for _, p := range plans.Items {
		got = append(got, p.Name)
	}
	offerings, err := f.Offerings(
		t.Context(), market.OfferingFilter{BrokerIDs: []backstay.BrokerID{from}, Available: &yes},
	)
	must(t, err)
	if !slices.Equal(got, names) || (len(offerings.Items) > 0) != (len(names) > 0) {
		t.Errorf("%s sells %q of %d offerings; want %q", from, got, len(offerings.Items), names)
	}
}

// guidsAreTheMarkets follows the ids of a catalog to the market's own.
func guidsAreTheMarkets(t *testing.T, f *fixture) {
	foreign := append(catalog("plan"), backstay.CatalogOffering{
		ID: "any/text", Name: "redis", Plans: []backstay.CatalogPlan{{ID: "small?", Name: "small"}},
	})
	must(t, f.KeepCatalog(t.Context(), another, foreign, unrecorded))
	first := f.guids(t)
	if first["postgres of "+Broker.Name] != string(offeringID) || first["plan of "+Broker.Name] != string(f.plan) {
		t.Errorf("a free guid was not kept: %v", first)
	}
	seen := map[string]bool{}
	for name, id := range first {
		if seen[id] || len(id) != 36 {
			t.Errorf("%s has the guid %q, which is none or another's", name, id)
		}
		seen[id] = true
	}
	if len(first) != 7 { // three of the first broker, four of the other
		t.Errorf("%d guids: %v", len(first), first)
	}
	must(t, f.KeepCatalog(t.Context(), another, foreign, unrecorded))
	for name, id := range f.guids(t) {
		if first[name] != id {
			t.Errorf("%s was %s and is %s", name, first[name], id)
		}
	}
}

// guids are those of all offerings and plans, by their names and their brokers'.
func (f *fixture) guids(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, b := range []backstay.ServiceBroker{Broker, another} {
		offerings, err := f.Offerings(t.Context(), market.OfferingFilter{BrokerNames: []string{b.Name}})
		must(t, err)
		for _, o := range offerings.Items {
			if o.BrokerID != b.ID || o.ServiceID == "" {
				t.Errorf("%s is offering %s of %s", o.Name, o.ServiceID, o.BrokerID)
			}
			all[o.Name+" of "+b.Name] = string(o.ID)
		}
		plans, err := f.Plans(t.Context(), market.PlanFilter{BrokerNames: []string{b.Name}})
		must(t, err)
		for _, p := range plans.Items {
			all[p.Name+" of "+b.Name] = string(p.ID)
		}
	}
	return all
}

// aCatalogIsKeptWhole reads back all that a broker says.
func aCatalogIsKeptWhole(t *testing.T, f *fixture) {
	no, yes := false, true
	o := backstay.CatalogOffering{
		ID: "redis", Name: "redis", Description: "Redis", DocumentationURL: "https://redis.io",
		Tags:     []string{"cache"},
		Requires: []string{"syslog_drain"}, Bindable: true, InstancesRetrievable: true, BindingsRetrievable: true,
		AllowContextUpdates: true, Shareable: true, BrokerMetadata: json.RawMessage(`{"bullets":["a\u0000b"]}`),
		Plans: []backstay.CatalogPlan{
			{ID: "small", Name: "small", Bindable: &no, PlanUpdateable: &yes,
				MaintenanceInfo:        &backstay.MaintenanceInfo{Version: "7.0.1", Description: "news"},
				MaximumPollingDuration: 90e9, BrokerMetadata: json.RawMessage(`{"displayName":"Small"}`)},
			{ID: "large", Name: "large"},
		},
	}
	must(t, f.KeepCatalog(t.Context(), another, []backstay.CatalogOffering{o}, unrecorded))
	offerings, err := f.Offerings(t.Context(), market.OfferingFilter{Names: []string{"redis"}})
	must(t, err)
	if got := offerings.Items[0]; got.ServiceID != o.ID || !slices.Equal(got.Requires, o.Requires) || !got.Bindable ||
		!got.InstancesRetrievable || !got.BindingsRetrievable || got.PlanUpdateable || !got.AllowContextUpdates ||
		string(got.BrokerMetadata) != string(o.BrokerMetadata) {
		t.Errorf("kept as %+v", got)
	}
	plans, err := f.Plans(t.Context(), market.PlanFilter{ServicePlanIDs: []backstay.ServicePlanID{"small", "large"}})
	must(t, err)
	small, large := plans.Items[0], plans.Items[1]
	if small.Bindable || !small.PlanUpdateable || *small.MaintenanceInfo != *o.Plans[0].MaintenanceInfo ||
		small.MaximumPollingDuration != o.Plans[0].MaximumPollingDuration ||
		string(small.BrokerMetadata) != string(o.Plans[0].BrokerMetadata) || large.BrokerMetadata != nil {
		t.Errorf("kept as %+v", small)
	}
	if !large.Bindable || large.PlanUpdateable || large.MaintenanceInfo != nil || large.MaximumPollingDuration != 0 {
		t.Errorf("what the plan does not say is not as the offering has it: %+v", large)
	}
}

func withdrawnPlansStayKnown(t *testing.T, f *fixture) {
	must(t, f.KeepCatalog(t.Context(), Broker, catalog("other"), unrecorded))
	available := true
	l, err := f.Plans(t.Context(), market.PlanFilter{Available: &available, OfferingNames: []string{"postgres"}})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].ID != planID("other") {
		t.Errorf("on sale: %+v", l.Items)
	}
	l, err = f.Plans(t.Context(), market.PlanFilter{IDs: []backstay.PlanID{f.plan}})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].Available {
		t.Errorf("withdrawn plan: %+v", l.Items)
	}
}

// plansSwapNames has plans take each other's names, and that of one that is withdrawn.
func plansSwapNames(t *testing.T, f *fixture) {
	named := func(names ...string) []backstay.CatalogOffering {
		o := catalog("plan", "other")
		for i, name := range names {
			o[0].Plans[i].Name = name
		}
		return o
	}
	must(t, f.KeepCatalog(t.Context(), Broker, named("other", "plan"), unrecorded))
	f.wantOnSale(t, Broker.ID, "other", "plan")
	without := named("other")
	without[0].Plans = without[0].Plans[:1]
	without[0].Plans[0].Name = "plan" // as one is called that goes
	must(t, f.KeepCatalog(t.Context(), Broker, without, unrecorded))
	f.wantOnSale(t, Broker.ID, "plan")
	l, err := f.Plans(t.Context(), market.PlanFilter{IDs: []backstay.PlanID{f.plan}})
	must(t, err)
	if l.Items[0].Name != "plan" {
		t.Errorf("it is called %s", l.Items[0].Name)
	}
	err = f.KeepCatalog(t.Context(), Broker, named("same", "same"), unrecorded)
	wantError(t, err, backstay.Invalid, "The catalog of backstay has two plans of one name in an offering.")
	f.wantOnSale(t, Broker.ID, "plan")
}

// whatACatalogChangesIsRecorded keeps catalogs and counts what is new about each: nothing is where nothing changed.
func whatACatalogChangesIsRecorded(t *testing.T, f *fixture) {
	var changes []market.CatalogChange
	keep := func(offerings []backstay.CatalogOffering, plans, offered int) []market.CatalogChange {
		t.Helper()
		changes = nil
		must(t, f.KeepCatalog(t.Context(), Broker, offerings, func(c market.CatalogChange) backstay.Event {
			changes = append(changes, c)
			return newEvent("catalog", "catalog", f.org.ID)
		}))
		for _, c := range changes {
			if c.Plan != nil {
				plans--
			} else {
				offered--
			}
		}
		if plans != 0 || offered != 0 {
			t.Errorf("changes are %+v", changes)
		}
		return changes
	}
	before := f.updated(t)
	keep(catalog("plan", "other"), 0, 0)
	if after := f.updated(t); !after.Equal(before) {
		t.Errorf("a plan that is as it was was updated at %s, and is at %s", before, after)
	}
	priced := catalog("plan", "other")
	priced[0].Plans[0].Costs = []backstay.Cost{{Amount: 1, Currency: "GBP", Unit: "MONTHLY"}}
	if c := keep(priced, 1, 0); len(c[0].OldPlan.Costs) == len(c[0].Plan.Costs) {
		t.Errorf("the plan is as it was: %+v", c[0].Plan)
	}
	if c := keep(catalog("plan"), 2, 0); c[1].Plan.Available || !c[1].OldPlan.Available {
		t.Errorf("what is withdrawn is %+v", c[1].Plan)
	}
	if c := keep(nil, 1, 1); c[0].Offering.Available {
		t.Errorf("what is withdrawn is %+v", c[0].Offering)
	}
	if c := keep(catalog("plan", "new"), 2, 1); c[2].OldPlan != nil || c[1].OldPlan == nil {
		t.Errorf("what is new is %+v", c)
	}
	events, err := f.Events(t.Context(), market.EventFilter{TargetIDs: []string{"catalog"}})
	must(t, err)
	if len(events.Items) != 8 {
		t.Errorf("%d events", len(events.Items))
	}
}

// updated is when the plan was changed last.
func (f *fixture) updated(t *testing.T) time.Time {
	t.Helper()
	l, err := f.Plans(t.Context(), market.PlanFilter{IDs: []backstay.PlanID{f.plan}})
	must(t, err)
	return l.Items[0].UpdatedAt
}

package market

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/wait"
)

// CatalogChange is one thing that a broker's catalog says in another way than before: an offering, or a plan. What it
// was is nil for what is new, and what it is for what is not known any more.
type CatalogChange struct {
	OldOffering, Offering *backstay.Offering
	OldPlan, Plan         *backstay.Plan
}

// KeepCatalog asks a broker what it offers and puts that on sale, in the place of what it offered before.
func (m *Market) KeepCatalog(ctx context.Context, from backstay.ServiceBroker) error {
	offerings, err := m.readCatalog(ctx, from.ID)
	if err != nil {
		return err
	}
	return m.keepCatalog(ctx, from, offerings)
}

func (m *Market) readCatalog(ctx context.Context, of backstay.BrokerID) ([]backstay.CatalogOffering, error) {
	b, err := m.broker(ctx, of)
	if err != nil {
		return nil, err
	}
	offerings, err := b.Catalog(ctx)
	if err != nil {
		return nil, fmt.Errorf("read catalog of broker %s: %w", of, err)
	}
	return offerings, nil
}

func (m *Market) keepCatalog(
	ctx context.Context, from backstay.ServiceBroker, offerings []backstay.CatalogOffering,
) error {
	by := brokerActor(from)
	return m.Store.KeepCatalog(ctx, from, offerings, func(c CatalogChange) backstay.Event { return c.event(by) })
}

// brokerActor is a broker as the actor of what it does of its own accord.
func brokerActor(b backstay.ServiceBroker) backstay.Actor {
	return backstay.Actor{UserID: backstay.UserID(b.ID), Username: b.Name, Broker: true}
}

// catalogEvery is how often brokers are asked whether they offer something else.
const catalogEvery = time.Minute

// WatchCatalogs puts on sale what brokers offer whenever that has changed, until ctx ends.
func (m *Market) WatchCatalogs(ctx context.Context) error {
	kept := map[backstay.BrokerID][]byte{}
	return wait.Until(ctx, wait.Every(catalogEvery), func() (again bool, err error) {
		for id := range m.Brokers {
			if kept[id], err = m.KeepChangedCatalog(ctx, id, kept[id]); err != nil && ctx.Err() == nil {
				m.Log.Warn("the catalog of a broker was not looked at; it is tried again", "broker", id, "error", err)
			}
		}
		return true, nil
	})
}

// KeepChangedCatalog puts on sale what a broker offers, unless that is what it offered when the answer of an earlier
// call was returned. The database is asked only if it is not.
func (m *Market) KeepChangedCatalog(ctx context.Context, of backstay.BrokerID, earlier []byte) ([]byte, error) {
	offerings, err := m.offeredBy(ctx, of)
	if err != nil {
		return earlier, err
	}
	offered, err := json.Marshal(offerings)
	if err != nil || bytes.Equal(offered, earlier) {
		return earlier, err
	}
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{of}})
	from, err := single(l, err, "Service broker")
	if err != nil {
		return earlier, err
	}
	return offered, m.keepCatalog(ctx, from, offerings)
}

// offeredBy is what a broker offers: of one that somebody has registered, as it was when they did.
func (m *Market) offeredBy(ctx context.Context, of backstay.BrokerID) ([]backstay.CatalogOffering, error) {
	if _, ok := m.Brokers[of]; ok {
		return m.readCatalog(ctx, of)
	}
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{of}})
	b, err := single(l, err, "Service broker")
	if err != nil {
		return nil, err
	}
	opened, err := m.broker(ctx, of)
	if err != nil {
		return nil, err
	}
	return m.registeredCatalog(ctx, b, opened, callFor(backstay.Actor{}, ""))
}

// watchCatalog puts on sale what a broker that somebody has registered offers whenever that has changed, until ctx
// ends: what it sells in other versions by now can be upgraded. A broker that does not tell of its changes is asked
// when somebody updates it, as Cloud Foundry does.
func (m *Market) watchCatalog(ctx context.Context, of backstay.BrokerID) error {
	var kept []byte
	return m.hear(ctx, func() (time.Duration, error) {
		b, err := m.broker(ctx, of)
		if err == nil && !watches(ctx, b) {
			err = errSilent
		}
		if err == nil {
			kept, err = m.KeepChangedCatalog(ctx, of, kept)
		}
		return settleEvery, err
	}, func(err error) {
		m.Log.Warn("the catalog of a broker was not looked at; it is tried again", "broker", of, "error", err)
	})
}

// newerVersion tells whether a request was refused, perhaps because it names the version of a plan that is on sale,
// while the broker has another one by now (OSB 2.17, "MaintenanceInfoConflict"). That is put on sale then, and in the
// place of the version.
func (m *Market) newerVersion(
	ctx context.Context, refused error, o backstay.Offering, version **backstay.MaintenanceInfo, p backstay.Plan,
) bool {
	if backstay.KindOf(refused) != backstay.Invalid || *version == nil {
		return false
	}
	offerings, err := m.readCatalog(ctx, o.BrokerID)
	if err != nil {
		return false
	}
	now, ok := findPlan(offerings, o.ServiceID, p.ServicePlanID)
	if !ok || sameVersion(now.MaintenanceInfo, *version) {
		return false
	}
	if _, err := m.KeepChangedCatalog(ctx, o.BrokerID, nil); err != nil {
		m.Log.Warn("a catalog that has changed was not kept", "broker", o.BrokerID, "error", err)
		return false
	}
	*version = now.MaintenanceInfo
	return true
}

// DeactivatedPlans are plans of an offering that its broker's catalog has no more, and that instances still have.
type DeactivatedPlans struct {
	Offering string
	Plans    []string
}

// WarnOfDeactivated says that there are such plans, in Cloud Controller's words.
func WarnOfDeactivated(b backstay.ServiceBroker, all []DeactivatedPlans) string {
	said := fmt.Sprintf("Warning: Service plans are missing from the broker's catalog (%s/v2/catalog) but can not be "+
		"removed from Cloud Foundry while instances exist. The plans have been deactivated to prevent users from "+
		"attempting to provision new instances of these plans. The broker should continue to support bind, unbind, and "+
		"delete for existing instances; if these operations fail contact your broker provider.\n",
		strings.TrimRight(b.URL, "/"))
	for _, of := range all {
		said += fmt.Sprintf("\nService Offering: %s\nPlans deactivated: %s\n", of.Offering, strings.Join(of.Plans, ", "))
	}
	return said
}

func findPlan(
	offerings []backstay.CatalogOffering, offering backstay.ServiceID, plan backstay.ServicePlanID,
) (found backstay.CatalogPlan, ok bool) {
	for _, o := range offerings {
		for _, p := range o.Plans {
			if o.ID == offering && p.ID == plan {
				return p, true
			}
		}
	}
	return found, false
}

// event is the change as Cloud Foundry records it: by the broker, with what it says now in another way.
func (c CatalogChange) event(by backstay.Actor) backstay.Event {
	switch {
	case c.Plan == nil && c.OldPlan != nil:
		about := backstay.Target{ID: string(c.OldPlan.ID), Type: "service_plan", Name: c.OldPlan.Name}
		return newEvent(by, "service_plan.delete", about, place{}, details{})
	case c.Offering == nil && c.OldOffering != nil:
		about := backstay.Target{ID: string(c.OldOffering.ID), Type: "service", Name: c.OldOffering.Name}
		return newEvent(by, "service.delete", about, place{}, details{})
	case c.Plan != nil:
		old := details{}
		if c.OldPlan != nil {
			old = planDetails(*c.OldPlan)
		}
		d := changedDetails(old, planDetails(*c.Plan))
		if _, ok := d["schemas"]; ok {
			d["schemas"] = "changed" // they are long
		}
		return catalogEvent(by, "service_plan", string(c.Plan.ID), c.Plan.Name, c.OldPlan == nil, d)
	}
	old := details{}
	if c.OldOffering != nil {
		old = offeringDetails(*c.OldOffering)
	}
	return catalogEvent(by, "service", string(c.Offering.ID), c.Offering.Name, c.OldOffering == nil,
		changedDetails(old, offeringDetails(*c.Offering)))
}

// catalogEvent is none for what only stands in another place of the catalog.
func catalogEvent(by backstay.Actor, kind, id, name string, created bool, d details) backstay.Event {
	if len(d) == 0 {
		return backstay.Event{}
	}
	verb := ".update"
	if created {
		verb = ".create"
	}
	return newEvent(by, kind+verb, backstay.Target{ID: id, Type: kind, Name: name}, place{}, d)
}

func changedDetails(old, now details) details {
	changed := details{}
	for name, value := range now {
		if !reflect.DeepEqual(old[name], value) {
			changed[name] = value
		}
	}
	return changed
}

func offeringDetails(o backstay.Offering) details {
	return details{
		"name": o.Name, "description": o.Description, "documentation_url": o.DocumentationURL, "tags": o.Tags,
		"requires": o.Requires, "bindable": o.Bindable, "instances_retrievable": o.InstancesRetrievable,
		"bindings_retrievable": o.BindingsRetrievable, "plan_updateable": o.PlanUpdateable,
		"allow_context_updates": o.AllowContextUpdates, "shareable": o.Shareable, "available": o.Available,
		"broker_metadata": o.BrokerMetadata,
	}
}

func planDetails(p backstay.Plan) details {
	d := details{
		"name": p.Name, "description": p.Description, "free": p.Free, "bindable": p.Bindable,
		"plan_updateable": p.PlanUpdateable, "available": p.Available, "costs": p.Costs, "schemas": p.Schemas,
		"maximum_polling_duration": p.MaximumPollingDuration.Seconds(), "maintenance_info": details{},
		"broker_metadata": p.BrokerMetadata,
	}
	if v := p.MaintenanceInfo; v != nil {
		d["maintenance_info"] = details{"version": v.Version, "description": v.Description}
	}
	return d
}

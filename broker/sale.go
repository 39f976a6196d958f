package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Local is the name of the backend that instances live in of which the catalog says nothing else: the machine that the
// broker runs on.
const Local = "local"

// backendOf is the name of the backend that instances of a size live in.
func (o *Offering) backendOf(s Size) string { return cmp.Or(s.Backend, o.Backend, Local) }

// backends lists where the offering's instances live.
func (o *Offering) backends() (names []string) {
	sizes := o.Sizes
	if o.Free != nil {
		sizes = append(slices.Clone(sizes), *o.Free)
	}
	for _, s := range sizes {
		if name := o.backendOf(s); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// LivesIn tells whether any offering is to live in the backend of that name.
func (c Catalog) LivesIn(name string) bool {
	return slices.ContainsFunc(c.Offerings, func(o Offering) bool { return slices.Contains(o.backends(), name) })
}

// CheckBackends complains of the first offering that is to live in a backend that is none of these.
func (c Catalog) CheckBackends(there ...string) error {
	for i := range c.Offerings {
		for _, name := range c.Offerings[i].backends() {
			if !slices.Contains(there, name) {
				return fmt.Errorf("catalog: offering %s has plans in the backend %q, and there is none of that name; there is: %s",
					printable(c.Offerings[i].Name), printable(name), strings.Join(there, ", "))
			}
		}
	}
	return nil
}

// Catalog lists the offerings whose engines the backends have, with the plans they can serve. What a backend that does
// not answer has told before stays on sale.
func (b *Broker) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	can, err := b.lastInventories(ctx)
	if err != nil {
		return nil, err
	}
	var offerings []backstay.CatalogOffering
	for i := range b.Offered.Offerings {
		o := &b.Offered.Offerings[i]
		plans := b.Offered.plans(o, can)
		if len(plans) == 0 {
			continue
		}
		offering := backstay.CatalogOffering{
			ID: backstay.ServiceID(o.ID), Name: o.Name, Description: o.Description, DocumentationURL: o.Documentation,
			Tags: o.Tags, Bindable: true, InstancesRetrievable: true, BindingsRetrievable: true,
			PlanUpdateable: !o.Fixed, Shareable: o.Shareable, Private: o.Private,
		}
		for _, p := range plans {
			p.Schemas = p.schemas()
			offering.Plans = append(offering.Plans, p.CatalogPlan)
		}
		offerings = append(offerings, offering)
	}
	return offerings, nil
}

// lastInventories asks all backends what they can serve, and keeps the answers. In the place of one that does not
// answer stands what it told last: its plans do not go because it is away. One that never did sells nothing yet, which
// keeps nobody from buying of the others.
func (b *Broker) lastInventories(ctx context.Context) (inventories, error) {
	can := inventories{}
	for name, its := range b.Backends {
		inventory, err := its.Inventory(ctx)
		if err == nil {
			can[name] = inventory
			if err := b.Store.KeepInventory(ctx, name, inventory); err != nil {
				return nil, err
			}
			continue
		}
		b.Log.Warn("a backend does not tell what it can serve", "backend", name, "error", err)
		inventory, unknown := b.Store.Inventory(ctx, name)
		switch {
		case unknown == nil:
			can[name] = inventory
		case backstay.KindOf(unknown) != backstay.NotFound:
			return nil, unknown
		case len(b.Backends) == 1:
			return nil, err
		}
	}
	return can, nil
}

// inventories asks backends what they can serve. The error is that of those that do not answer.
func (b *Broker) inventories(ctx context.Context, names []string) (inventories, error) {
	can := inventories{}
	var failures []error
	for _, name := range names {
		its, reached := b.Backends[name]
		if !reached {
			continue
		}
		inventory, err := its.Inventory(ctx)
		if err != nil {
			failures = append(failures, aboutBackend(name, err))
			continue
		}
		can[name] = inventory
	}
	return can, errors.Join(failures...)
}

// findPlan returns the plan of that id of that offering: a plan of another one is not it.
func (b *Broker) findPlan(ctx context.Context, offering backstay.ServiceID, id backstay.ServicePlanID) (plan, error) {
	if o := b.Offered.offering(offering); o != nil {
		can, err := b.inventories(ctx, o.backends())
		for _, p := range b.Offered.plans(o, can) {
			if p.ID == id {
				return p, nil
			}
		}
		if err != nil { // it may be one of theirs
			return plan{}, err
		}
	}
	return plan{}, backstay.Errorf(backstay.NotFound,
		"Service plan '%s' of service offering '%s' is not offered here.", id, offering)
}

// planOf returns the plan of an instance. It is not offered any more, if plans of its name live elsewhere now.
func (b *Broker) planOf(ctx context.Context, in Instance) (plan, error) {
	p, err := b.findPlan(ctx, in.ServiceID, in.PlanID)
	if err == nil && p.backend != in.Backend {
		return plan{}, backstay.Errorf(backstay.NotFound,
			"Service plan '%s' is not offered in %q any more, where this service instance lives.", p.Name, in.Backend)
	}
	return p, err
}

// allPlans returns the plans that are sold now, by their ids. Those of a backend that does not answer are not told of.
func (b *Broker) allPlans(ctx context.Context) (map[backstay.ServicePlanID]plan, error) {
	can, err := b.allInventories(ctx)
	return b.Offered.allPlans(can), err
}

func (b *Broker) allInventories(ctx context.Context) (inventories, error) {
	return b.inventories(ctx, slices.Collect(maps.Keys(b.Backends)))
}

// backendOf returns the backend that an instance lives in.
func (b *Broker) backendOf(in Instance) (backend.Backend, error) {
	its, ok := b.Backends[in.Backend]
	if !ok {
		return nil, backstay.Errorf(backstay.Unavailable,
			"Service instance %s lives in %q, which this Backstay does not reach.", in.ID, in.Backend)
	}
	return its, nil
}

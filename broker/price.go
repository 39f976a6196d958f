package broker

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/backstay/backstay"
)

// Price is what a plan is called and costs.
type Price struct {
	PlanID    backstay.ServicePlanID
	Plan      string
	ServiceID backstay.ServiceID
	Offering  string
	Costs     []backstay.Cost
}

// keepPrices returns what keeps the prices of the plans that are on sale, whenever they are others than before.
func (b *Broker) keepPrices() func(context.Context) error {
	var kept []Price
	return func(ctx context.Context) error {
		plans, unknown := b.allPlans(ctx)
		var now []Price
		for id, p := range plans {
			now = append(now, Price{id, p.Name, backstay.ServiceID(p.offering.ID), p.offering.Name, p.Costs})
		}
		slices.SortFunc(now, func(a, b Price) int { return cmp.Compare(a.PlanID, b.PlanID) })
		if len(now) == 0 || reflect.DeepEqual(now, kept) {
			return unknown
		}
		err := b.Store.KeepPrices(ctx, now)
		if err == nil {
			kept = now
		}
		return errors.Join(unknown, err)
	}
}

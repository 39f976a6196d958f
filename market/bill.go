package market

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// Charge is what the instances of one plan in one space cost in one currency and unit. Amounts are exact:
// those of two intervals add up to that of both.
type Charge struct {
	OrganizationID backstay.OrganizationID
	Organization   string // names are the last of the interval
	SpaceID        backstay.SpaceID
	Space          string
	OfferingID     backstay.OfferingID
	Offering       string
	PlanID         backstay.PlanID
	Plan           string
	Currency       string   // empty for a plan without a price
	Unit           string   // that the price is for
	Hours          *big.Rat // of all instances together
	Cost           *big.Rat // nil if there is no price, or none for time

	named time.Time // when the names were those
}

// monthly is the unit of a price for a calendar month, in UTC, however long that is.
const monthly = "MONTHLY"

// line identifies a charge. Amounts of different currencies or units are different charges, and never added up.
type line struct {
	organization backstay.OrganizationID
	space        backstay.SpaceID
	offering     backstay.OfferingID
	plan         backstay.PlanID
	tariff
}

// tariff is the currency and the unit of a price.
type tariff struct{ currency, unit string }

// Bill adds up what there was in [from, until) according to the events, which are in their order, at the
// prices that they tell. A monthly price is due in proportion to the calendar month: a whole one costs the
// price, whether it has 28 days or 31.
func Bill(events []backstay.UsageEvent, from, until time.Time) []Charge {
	bill := map[line]*Charge{}
	open := map[backstay.InstanceID]backstay.UsageEvent{}
	for _, e := range events {
		if last, ok := open[e.InstanceID]; ok {
			charge(bill, last, later(from, last.CreatedAt), earlier(until, e.CreatedAt))
		}
		open[e.InstanceID] = e
		if e.State == backstay.UsageDeleted {
			delete(open, e.InstanceID)
		}
	}
	for _, last := range open {
		charge(bill, last, later(from, last.CreatedAt), until)
	}
	return sorted(bill)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// charge adds to the bill what one instance cost in an interval, at the prices that the event tells.
func charge(bill map[line]*Charge, e backstay.UsageEvent, begin, end time.Time) {
	if !begin.Before(end) {
		return
	}
	for tariff, price := range prices(e.Costs) {
		key := line{e.OrganizationID, e.SpaceID, e.OfferingID, e.PlanID, tariff}
		c := bill[key]
		if c == nil {
			c = &Charge{
				OrganizationID: e.OrganizationID, SpaceID: e.SpaceID, OfferingID: e.OfferingID, PlanID: e.PlanID,
				Currency: tariff.currency, Unit: tariff.unit, Hours: new(big.Rat),
			}
			if tariff.unit == monthly {
				c.Cost = new(big.Rat)
			}
			bill[key] = c
		}
		if !e.CreatedAt.Before(c.named) {
			c.named, c.Organization, c.Space = e.CreatedAt, e.OrganizationName, e.SpaceName
			c.Offering, c.Plan = e.OfferingName, e.PlanName
		}
		c.Hours.Add(c.Hours, ratio(end.Sub(begin), time.Hour))
		if c.Cost != nil {
			c.Cost.Add(c.Cost, price.Mul(price, months(begin, end)))
		}
	}
}

// prices returns what a plan costs by currency and unit. A plan without prices has one price, of nothing.
func prices(costs []backstay.Cost) map[tariff]*big.Rat {
	if len(costs) == 0 {
		return map[tariff]*big.Rat{{}: new(big.Rat)}
	}
	all := map[tariff]*big.Rat{}
	for _, c := range costs {
		t := tariff{c.Currency, strings.ToUpper(c.Unit)}
		if all[t] == nil {
			all[t] = new(big.Rat)
		}
		written := strconv.FormatFloat(c.Amount, 'f', -1, 64) // 0.1 is a tenth
		if amount, ok := new(big.Rat).SetString(written); ok {
			all[t].Add(all[t], amount)
		}
	}
	return all
}

// months returns how many calendar months an interval lasts.
func months(begin, end time.Time) *big.Rat {
	sum := new(big.Rat)
	for begin = begin.UTC(); begin.Before(end); {
		first := time.Date(begin.Year(), begin.Month(), 1, 0, 0, 0, 0, time.UTC)
		next := first.AddDate(0, 1, 0)
		stop := earlier(next, end)
		sum.Add(sum, ratio(stop.Sub(begin), next.Sub(first)))
		begin = stop
	}
	return sum
}

func ratio(a, b time.Duration) *big.Rat { return big.NewRat(int64(a), int64(b)) }

func sorted(bill map[line]*Charge) []Charge {
	charges := make([]Charge, 0, len(bill))
	for _, c := range bill {
		charges = append(charges, *c)
	}
	slices.SortFunc(charges, func(a, b Charge) int {
		return cmp.Or(
			strings.Compare(a.Organization, b.Organization), cmp.Compare(a.OrganizationID, b.OrganizationID),
			strings.Compare(a.Space, b.Space), cmp.Compare(a.SpaceID, b.SpaceID),
			strings.Compare(a.Offering, b.Offering), cmp.Compare(a.OfferingID, b.OfferingID),
			strings.Compare(a.Plan, b.Plan), cmp.Compare(a.PlanID, b.PlanID),
			strings.Compare(a.Currency, b.Currency), strings.Compare(a.Unit, b.Unit),
		)
	})
	return charges
}

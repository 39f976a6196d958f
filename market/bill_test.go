package market_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// at reads moments as tests write them: a day, or with a time, in UTC.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	if len(text) == len("2026-01-02") {
		text += "T00:00:00Z"
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func pounds(amount float64) []backstay.Cost {
	return []backstay.Cost{{Amount: amount, Currency: "GBP", Unit: "MONTHLY"}}
}

func usage(
	t testing.TB, when string, s backstay.UsageState, instance, plan string, costs []backstay.Cost,
) backstay.UsageEvent {
	return backstay.UsageEvent{
		State: s, InstanceID: backstay.InstanceID(instance), InstanceName: instance, OrganizationID: "o",
		OrganizationName: "acme", SpaceID: "s", SpaceName: "dev",
		PlanID: backstay.PlanID(plan), PlanName: plan, OfferingID: "f", OfferingName: "postgres", Costs: costs,
		CreatedAt: at(t, when),
	}
}

// shown is a bill in short: plan, hours, cost.
func shown(charges []market.Charge) string {
	var lines []string
	for _, c := range charges {
		cost := "none"
		if c.Cost != nil {
			cost = c.Cost.FloatString(2)
		}
		lines = append(
			lines, strings.TrimSpace(fmt.Sprintf("%s %sh %s %s", c.Plan, c.Hours.FloatString(0), cost, c.Currency)),
		)
	}
	return strings.Join(lines, "; ")
}

func TestBill(t *testing.T) {
	t.Parallel()
	const created, updated, deleted = backstay.UsageCreated, backstay.UsageUpdated, backstay.UsageDeleted
	for name, c := range map[string]struct {
		from, until string
		events      []backstay.UsageEvent
		want        string
	}{
		"nothing": {"2026-02-01", "2026-03-01", nil, ""},
		"a whole month is its " +
			"price": {"2026-01-01", "2026-02-01", []backstay.UsageEvent{usage(t, "2025-06-07", created, "a", "S", pounds(30))}, "S 744h 30.00 GBP"},
		"a short one is " +
			"too": {"2026-02-01", "2026-03-01", []backstay.UsageEvent{usage(t, "2025-06-07", created, "a", "S", pounds(30))}, "S 672h 30.00 GBP"},
		"a leap one is " +
			"too": {"2028-02-01", "2028-03-01", []backstay.UsageEvent{usage(t, "2025-06-07", created, "a", "S", pounds(30))}, "S 696h 30.00 GBP"},
		"a day is its part of the " +
			"month": {"2026-02-27", "2026-02-28", []backstay.UsageEvent{usage(t, "2025-06-07", created, "a", "S", pounds(28))}, "S 24h 1.00 GBP"},
		"a day from each of two " +
			"months": {"2026-02-28", "2026-03-02", []backstay.UsageEvent{usage(t, "2025-06-07", created, "a", "S", pounds(28*31))}, "S 48h 59.00 GBP"},
		"a year is twelve " +
			"months": {"2026-01-01", "2027-01-01", []backstay.UsageEvent{usage(t, "2025-06-07", created, "a", "S", pounds(0.1))}, "S 8760h 1.20 GBP"},
		"made in the " +
			"interval": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-06-16", created, "a", "S", pounds(30))}, "S 360h 15.00 GBP"},
		"gone in the " +
			"interval": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30)), usage(t, "2026-06-11", deleted, "a", "S", pounds(99))}, "S 240h 10.00 GBP"},
		"gone " +
			"before": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30)), usage(t, "2026-05-31", deleted, "a", "S", pounds(30))}, ""},
		"made " +
			"after": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-07-01", created, "a", "S", pounds(30))}, ""},
		"another " +
			"plan": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30)), usage(t, "2026-06-11", updated, "a", "M", pounds(120))}, "M 480h 80.00 GBP; S 240h 10.00 GBP"},
		"another " +
			"price": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30)), usage(t, "2026-06-16", updated, "a", "S", pounds(60))}, "S 720h 45.00 GBP"},
		"a name alone changes " +
			"nothing": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30)), usage(t, "2026-06-11", updated, "a", "S", pounds(30))}, "S 720h 30.00 GBP"},
		"two instances of a " +
			"plan": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30)), usage(t, "2026-05-01", created, "b", "S", pounds(30))}, "S 1440h 60.00 GBP"},
		"currencies stand " +
			"apart": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", append(pounds(30), backstay.Cost{Amount: 40, Currency: "USD", Unit: "MONTHLY"}))}, "S 720h 30.00 GBP; S 720h 40.00 USD"},
		"free": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "Free", pounds(0))}, "Free 720h 0.00 GBP"},
		"without a " +
			"price": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", nil)}, "S 720h none"},
		"a price for something " +
			"else": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", []backstay.Cost{{Amount: 1, Currency: "GBP", Unit: "1GB of messages"}})}, "S 720h none GBP"},
		"the clocks change in " +
			"London": {"2026-03-29T00:00:00Z", "2026-03-30T00:00:00+01:00", []backstay.UsageEvent{usage(t, "2026-03-01", created, "a", "S", pounds(31*24))}, "S 23h 23.00 GBP"},
		"an interval that is " +
			"none": {"2026-07-01", "2026-06-01", []backstay.UsageEvent{usage(t, "2026-05-01", created, "a", "S", pounds(30))}, ""},
		"a clock that went back bills " +
			"no": {"2026-06-01", "2026-07-01", []backstay.UsageEvent{usage(t, "2026-06-11", created, "a", "S", pounds(30)), usage(t, "2026-06-10", deleted, "a", "S", pounds(30))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := shown(market.Bill(c.events, at(t, c.from), at(t, c.until))); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestBillNamesAreTheLast(t *testing.T) {
	t.Parallel()
	a, b := usage(
		t, "2026-06-01", backstay.UsageCreated, "a", "S", pounds(30),
	), usage(t, "2026-06-10", backstay.UsageUpdated, "a", "S", pounds(30))
	b.SpaceName, b.OrganizationName = "prod", "acme & sons"
	c := market.Bill([]backstay.UsageEvent{a, b}, a.CreatedAt, at(t, "2026-07-01"))
	if len(c) != 1 || c[0].Space != "prod" || c[0].Organization != "acme & sons" {
		t.Errorf("billed as %+v", c)
	}
}

// FuzzBill lives through histories of instances: the bills of two intervals add up to that of both, to
// the last fraction, and no bill takes a price more often than there were months.
func FuzzBill(f *testing.F) {
	f.Add([]byte{0, 10, 1, 20, 2, 200, 0, 3, 9, 9}, uint16(700), uint16(90), uint16(2000))
	f.Add([]byte("any history will do, this one too"), uint16(0), uint16(9999), uint16(1))
	f.Fuzz(func(t *testing.T, history []byte, a, b, c uint16) {
		start := time.Date(2027, 12, 30, 23, 0, 0, 0, time.UTC)
		events := lived(start, history)
		from := start.Add(time.Duration(a) * time.Hour)
		middle := from.Add(time.Duration(b)*time.Hour + 7*time.Nanosecond)
		until := middle.Add(time.Duration(c) * time.Hour)
		parts := map[string]*big.Rat{}
		add := func(charges []market.Charge, sign int64) {
			for _, c := range charges {
				for what, amount := range map[string]*big.Rat{"hours": c.Hours, "cost": c.Cost} {
					key := fmt.Sprint(what, c.PlanID, c.SpaceID, c.Currency, c.Unit)
					if parts[key] == nil {
						parts[key] = new(big.Rat)
					}
					if amount.Sign() < 0 {
						t.Errorf("%s is %s", key, amount)
					}
					parts[key].Add(parts[key], new(big.Rat).Mul(big.NewRat(sign, 1), amount))
				}
			}
		}
		add(market.Bill(events, from, middle), 1)
		add(market.Bill(events, middle, until), 1)
		add(market.Bill(events, from, until), -1)
		for key, rest := range parts {
			if rest.Sign() != 0 {
				t.Errorf("%s of two intervals and of both differ by %s", key, rest)
			}
		}
	})
}

// lived makes a history of what is left of a fuzzer's bytes: hours that pass, and what happens then.
func lived(start time.Time, history []byte) (events []backstay.UsageEvent) {
	now, there := start, map[backstay.InstanceID]bool{}
	for len(history) >= 3 {
		hours, what, who := history[0], history[1], history[2]
		history = history[3:]
		now = now.Add(time.Duration(hours)*time.Hour + time.Duration(what)*time.Millisecond)
		e := backstay.UsageEvent{
			InstanceID: backstay.InstanceID(fmt.Sprint(who % 4)), SpaceID: backstay.SpaceID(fmt.Sprint(who % 2)),
			State:  backstay.UsageCreated,
			PlanID: backstay.PlanID(fmt.Sprint(what % 3)), CreatedAt: now,
			Costs: []backstay.Cost{{Amount: float64(what) / 10, Currency: "GBP", Unit: "MONTHLY"}, {Amount: float64(who), Currency: "USD", Unit: "monthly"}},
		}
		if there[e.InstanceID] {
			e.State = backstay.UsageUpdated
			if what%4 == 0 {
				e.State = backstay.UsageDeleted
			}
		}
		there[e.InstanceID] = e.State != backstay.UsageDeleted
		events = append(events, e)
	}
	return events
}

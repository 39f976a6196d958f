package main

import (
	"bytes"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/market"
)

func TestInterval(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 15, 12, 30, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct{ from, to, want string }{
		{"", "", "2026-03-01T00:00:00Z 2026-03-15T11:30:00Z"},
		{"2026-02-01", "", "2026-02-01T00:00:00Z 2026-03-15T11:30:00Z"},
		{"2026-02-01", "2026-03-01", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"},
		{"", "2026-03-01", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"},
		{"", "2026-02-10", "2026-02-01T00:00:00Z 2026-02-10T00:00:00Z"},
		{"2026-03-01T09:00:00+01:00", "2026-03-01T09:00:00-01:00", "2026-03-01T08:00:00Z 2026-03-01T10:00:00Z"},
		{"2026-03-01", "2026-04-01", "2026-03-01T00:00:00Z 2026-03-15T11:30:00Z"},
	} {
		span, err := parseInterval(c.from, c.to, now)
		if got := span.from.Format(time.RFC3339) + " " + span.until.Format(time.RFC3339); err != nil || got != c.want {
			t.Errorf("%q to %q is %s, %v; want %s", c.from, c.to, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"yesterday", ""}, {"", "2026-02-30"}, {"2026-03-02", "2026-03-01"},
		{"2026-03-01", "2026-03-01"}, {"2027-01-01", ""}, {"2027-01-01", "2027-02-01"}} {
		span, err := parseInterval(c[0], c[1], now)
		if misuse := usageError(""); !errors.As(err, &misuse) {
			t.Errorf("%q to %q is %+v, %v", c[0], c[1], span, err)
		}
	}
}

func TestUsageTables(t *testing.T) {
	t.Parallel()
	span := interval{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	charge := func(plan, currency, unit string, cost *big.Rat) market.Charge {
		return market.Charge{OrganizationID: "o", Organization: `acme, "the" company`, Space: "dev", Offering: "postgres",
			Plan: plan, Currency: currency, Unit: unit, Hours: big.NewRat(2017, 3), Cost: cost}
	}
	charges := []market.Charge{
		charge("S", "GBP", "MONTHLY", big.NewRat(10, 3)), charge("M", "GBP", "MONTHLY", big.NewRat(5, 3)),
		charge("S", "JPY", "MONTHLY", big.NewRat(1001, 2)),
		charge("S", "KWD", "MONTHLY", big.NewRat(1, 3)), charge("X", "GBP", "1GB", nil), charge("Y", "", "", nil),
	}
	var table bytes.Buffer
	if err := writeTable(&table, span, charges); err != nil {
		t.Fatal(err)
	}
	want := `Usage from 2026-02-01T00:00:00Z until 2026-03-01T00:00:00Z

organization          space   service    plan   hours    cost       currency
acme, "the" company   dev     postgres   S      672.33   3.33       GBP
acme, "the" company   dev     postgres   M      672.33   1.67       GBP
acme, "the" company   dev     postgres   S      672.33   501        JPY
acme, "the" company   dev     postgres   S      672.33   0.333      KWD
acme, "the" company   dev     postgres   X      672.33   by 1GB     GBP
acme, "the" company   dev     postgres   Y      672.33   no price   
total                                                    5.00       GBP
total                                                    501        JPY
total                                                    0.333      KWD
`
	if table.String() != want {
		t.Errorf("%s\nwant\n%s", &table, want)
	}
	var values bytes.Buffer
	if err := writeCSV(&values, span, charges[2:3]); err != nil {
		t.Fatal(err)
	}
	const line = `2026-02-01T00:00:00Z,2026-03-01T00:00:00Z,"acme, ""the"" company",o,dev,,` +
		`postgres,,S,,672.3333,501,JPY,MONTHLY`
	if got := strings.Split(values.String(), "\n"); len(got) != 3 || got[1] != line {
		t.Errorf("%s\nwant\n%s", &values, line)
	}
}

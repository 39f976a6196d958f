package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/text/currency"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/state"
)

var usageUsage = `Usage: backstay usage [--from TIME] [--to TIME] [--csv] [FLAGS]

Shows how long service instances were there, and what they cost, for each organization, space, service and
plan. TIME is a date (midnight, UTC) or as in 2026-11-01T09:00:00+01:00. Without --to it is until now,
without --from since the month began. What is from --to on is not counted, nor what is to come.

A monthly price is due in proportion to the calendar month, in UTC: a whole month costs the price, however
many days it has. Prices are those that were in force at the time. Currencies are never added up.

  --csv                        write comma-separated values, with a header, instead of a table
` + stateUsage

func showUsage(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("usage", flag.ContinueOnError)
	read := c.configFlags(fs, dataSetting, databaseSetting)
	from, to := fs.String("from", "", ""), fs.String("to", "", "")
	asCSV := fs.Bool("csv", false, "")
	if err := parseAll(fs, args); err != nil {
		return err
	}
	span, err := parseInterval(*from, *to, time.Now())
	if err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	store, err := c.openRunning(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	if *from == "" {
		if err := span.beginKnown(ctx, store); err != nil {
			return err
		}
	}
	charges, err := market.Usage(ctx, store, span.from, span.until)
	if backstay.KindOf(err) == backstay.Invalid {
		return advise(err, "backstay usage, with a later --from")
	}
	if err != nil {
		return err
	}
	if *asCSV {
		return writeCSV(c.stdout, span, charges)
	}
	return writeTable(c.stdout, span, charges)
}

// openRunning opens the state of the Backstay that runs by cfg.
func (c *cli) openRunning(ctx context.Context, cfg *config) (*state.Store, error) {
	if pid, err := process.PIDFileHolder(cfg.data.servePID()); err != nil || pid == 0 {
		return nil, advise(fmt.Errorf("no Backstay is running on %s", cfg.data), "backstay serve --data %s", cfg.data)
	}
	database := cfg.Database.Reveal()
	if database == "" {
		var err error
		if database, err = awaitState(ctx, local.New(cfg.data.keeperSocket())); err != nil {
			return nil, fmt.Errorf("find state database: %w", err)
		}
	}
	return state.OpenBeside(ctx, database, slog.New(slog.NewTextHandler(c.stderr, nil)))
}

// interval is from one moment until before another.
type interval struct{ from, until time.Time }

// parseInterval reads --from and --to. What is to come has cost nothing yet.
func parseInterval(from, to string, now time.Time) (span interval, err error) {
	span.until = now.UTC()
	if to != "" {
		if span.until, err = parseMoment("--to", to); err != nil {
			return span, err
		}
	}
	last := span.until.Add(-1)
	span.from = time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, time.UTC)
	if from != "" {
		if span.from, err = parseMoment("--from", from); err != nil {
			return span, err
		}
	}
	if span.until.After(now) {
		span.until = now.UTC()
	}
	if !span.from.Before(span.until) {
		return span, usagef("%s is not before %s.", span.from.Format(time.RFC3339), span.until.Format(time.RFC3339))
	}
	return span, nil
}

func parseMoment(name, text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usagef("%s %q is neither a date like 2026-11-01 nor a time like 2026-11-01T09:00:00Z.",
		name, text)
}

// beginKnown moves the beginning, which nobody asked for, to where usage is known.
func (i *interval) beginKnown(ctx context.Context, store market.UsageStore) error {
	known, err := store.UsageHorizon(ctx)
	if i.from.Before(known) {
		i.from = known.UTC()
	}
	return err
}

func writeTable(w io.Writer, span interval, charges []market.Charge) error {
	fmt.Fprintf(w, "Usage from %s until %s\n\n", span.from.Format(time.RFC3339), span.until.Format(time.RFC3339))
	if len(charges) == 0 {
		_, err := fmt.Fprintln(w, "No service instances.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "organization\tspace\tservice\tplan\thours\tcost\tcurrency")
	totals := map[string]*big.Rat{}
	for _, c := range charges {
		cost := rounded(c.Cost, c.Currency)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Organization, c.Space, c.Offering, c.Plan,
			c.Hours.FloatString(2), cmp.Or(cost, unpriced(c)), c.Currency)
		addShown(totals, c.Currency, cost)
	}
	for _, code := range slices.Sorted(maps.Keys(totals)) {
		fmt.Fprintf(table, "total\t\t\t\t\t%s\t%s\n", totals[code].FloatString(scale(code)), code)
	}
	return table.Flush()
}

// unpriced says why time costs nothing.
func unpriced(c market.Charge) string {
	if c.Unit == "" {
		return "no price"
	}
	return "by " + c.Unit
}

// addShown adds an amount as it is shown: a total is of the lines above it.
func addShown(totals map[string]*big.Rat, code, amount string) {
	shown, ok := new(big.Rat).SetString(amount)
	if !ok {
		return
	}
	if totals[code] == nil {
		totals[code] = new(big.Rat)
	}
	totals[code].Add(totals[code], shown)
}

func writeCSV(w io.Writer, span interval, charges []market.Charge) error {
	table := csv.NewWriter(w)
	table.Write([]string{"from", "until", "organization", "organization_guid", "space", "space_guid", "service",
		"service_guid", "plan", "plan_guid", "hours", "cost", "currency", "unit"})
	for _, c := range charges {
		table.Write([]string{
			span.from.Format(time.RFC3339), span.until.Format(time.RFC3339), c.Organization, string(c.OrganizationID),
			c.Space, string(c.SpaceID), c.Offering, string(c.OfferingID), c.Plan, string(c.PlanID),
			c.Hours.FloatString(4), rounded(c.Cost, c.Currency), c.Currency, c.Unit,
		})
	}
	table.Flush()
	return table.Error()
}

// rounded is an amount as its currency is paid; empty if there is none.
func rounded(amount *big.Rat, code string) string {
	if amount == nil {
		return ""
	}
	return amount.FloatString(scale(code))
}

// scale is how many digits a currency has after the point; two if it is not known.
func scale(code string) int {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return 2
	}
	digits, _ := currency.Standard.Rounding(unit)
	return digits
}

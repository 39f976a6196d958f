package markettest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// wantUsage compares what is recorded, as states and instance names.
func (f *fixture) wantUsage(t *testing.T, filter market.UsageFilter, want ...string) []backstay.UsageEvent {
	t.Helper()
	l, err := f.UsageEvents(t.Context(), filter)
	must(t, err)
	got := []string{}
	for _, u := range l.Items {
		got = append(got, string(u.State)+" "+u.InstanceName)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("usage is %q; want %q", got, want)
	}
	return l.Items
}

func usageIsRecordedWithWhatItIsAbout(t *testing.T, f *fixture) {
	failed, j := f.newInstance("failed")
	must(t, f.AcceptInstance(t.Context(), failed, nil, none, j))
	must(
		t,
		f.FinishInstance(t.Context(), failed.ID, operation(backstay.Create, backstay.Failed), inForce,
			backstay.Job{ID: j.ID, State: backstay.JobFailed, Sentence: "no"}),
	)
	must(t, f.RemoveInstance(t.Context(), failed.ID, none, nil))
	must(t, f.RemoveInstance(t.Context(), f.mustProvide(t, "provided").ID, none, nil)) // costs nothing
	f.wantUsage(t, market.UsageFilter{})

	in := f.mustHave(t, "db")
	must(
		t,
		f.FinishInstance(t.Context(), in.ID, operation(backstay.Create, backstay.Succeeded), inForce, complete(j)),
	) // again
	name := "renamed"
	_, err := f.UpdateInstance(t.Context(), in.ID, market.Update{}, []string{"b"}, none)
	must(t, err)
	_, err = f.UpdateInstance(t.Context(), in.ID, named(name), nil, none)
	must(t, err)
	must(t, f.RemoveInstance(t.Context(), in.ID, none, nil))
	must(t, f.RemoveInstance(t.Context(), in.ID, none, nil))
	all := f.wantUsage(t, market.UsageFilter{}, "CREATED db", "UPDATED renamed", "DELETED renamed")
	want := backstay.UsageEvent{
		ID: backstay.UsageEventID(in.ID), State: backstay.UsageCreated, InstanceID: in.ID, InstanceName: "db",
		OrganizationID: "org", OrganizationName: "org",
		SpaceID: "space", SpaceName: "space", PlanID: f.plan, PlanName: "plan", OfferingID: offeringID,
		OfferingName: "postgres",
		BrokerID:     Broker.ID, BrokerName: Broker.Name, CreatedAt: all[0].CreatedAt,
	}
	got := all[0]
	got.Costs = nil
	if got.ID != want.ID || got.OrganizationName != want.OrganizationName ||
		got.SpaceName != want.SpaceName || got.PlanName != want.PlanName ||
		got.OfferingID != want.OfferingID || got.OfferingName != want.OfferingName ||
		got.BrokerID != want.BrokerID || got.BrokerName != want.BrokerName ||
		got.InstanceID != want.InstanceID ||
		got.CreatedAt.IsZero() {
		t.Errorf("recorded as %+v; want %+v", got, want)
	}
	f.wantUsage(t, market.UsageFilter{AfterID: all[0].ID}, "UPDATED renamed", "DELETED renamed")
	f.wantUsage(t, market.UsageFilter{OfferingIDs: []backstay.OfferingID{"other"}})
	f.wantUsage(
		t, market.UsageFilter{Match: market.Match{Created: market.Times{Since: &all[2].CreatedAt}}}, "DELETED renamed",
	)
	_, err = f.UsageEvents(t.Context(), market.UsageFilter{AfterID: "none"})
	wantError(t, err, backstay.Invalid, "After guid filter must be a valid service usage event guid.")
}

func priced(amount float64) []backstay.CatalogOffering {
	o := catalog("plan", "other")
	o[0].Plans[0].Costs = []backstay.Cost{{Amount: amount, Currency: "GBP", Unit: "MONTHLY"}}
	return o
}

func usageFollowsPrices(t *testing.T, f *fixture) {
	must(t, f.KeepCatalog(t.Context(), Broker, priced(30), unrecorded))
	f.mustHave(t, "db")
	gone := f.mustHave(t, "gone")
	must(t, f.RemoveInstance(t.Context(), gone.ID, none, nil))
	must(t, f.KeepCatalog(t.Context(), Broker, priced(30), unrecorded))
	must(t, f.KeepCatalog(t.Context(), Broker, priced(40), unrecorded))
	must(t, f.KeepCatalog(t.Context(), Broker, priced(40), unrecorded))
	all := f.wantUsage(t, market.UsageFilter{}, "CREATED db", "CREATED gone", "DELETED gone", "UPDATED db")
	if all[0].Costs[0].Amount != 30 || all[3].Costs[0].Amount != 40 {
		t.Errorf("prices %v, then %v; want 30 and 40", all[0].Costs, all[3].Costs)
	}
}

// bill is what usage from a moment on comes to, with the horizon ignored.
func (f *fixture) bill(t *testing.T, from, until time.Time) []market.Charge {
	t.Helper()
	events, err := f.UsageBetween(t.Context(), from, until)
	must(t, err)
	return market.Bill(events, from, until)
}

func usageIsForgottenWhereItTellsNothing(t *testing.T, f *fixture) {
	must(t, f.KeepCatalog(t.Context(), Broker, priced(30), unrecorded))
	lasting, gone := f.mustHave(t, "lasting"), f.mustHave(t, "gone")
	name := "renamed"
	_, err := f.UpdateInstance(t.Context(), lasting.ID, named(name), nil, none)
	must(t, err)
	must(t, f.RemoveInstance(t.Context(), gone.ID, none, nil))
	all := f.wantUsage(t, market.UsageFilter{}, "CREATED lasting", "CREATED gone", "UPDATED renamed", "DELETED gone")
	known, err := f.UsageHorizon(t.Context())
	must(t, err)
	if !known.IsZero() {
		t.Errorf("in the beginning, usage is known since %v", known)
	}
	begin, end := all[0].CreatedAt, all[3].CreatedAt
	cut, until := end.Add(time.Hour), end.Add(24*time.Hour)
	whole, before := f.bill(t, begin, until), f.bill(t, cut, until)
	if len(whole) != 1 || len(before) != 1 || whole[0].Cost.Cmp(before[0].Cost) <= 0 {
		t.Fatalf("the bill is %+v, %+v since the cut", whole, before)
	}
	for _, left := range [][]string{
		{"CREATED gone", "UPDATED renamed", "DELETED gone"},
		{"UPDATED renamed", "DELETED gone"}, {"UPDATED renamed"}, {"UPDATED renamed"},
	} {
		_, err := f.RemoveUsage(t.Context(), cut, 1) // one by one, so that a killed removal stops anywhere
		must(t, err)
		f.wantUsage(t, market.UsageFilter{}, left...)
		after := f.bill(t, cut, until)
		if len(after) != 1 || after[0].Cost.Cmp(before[0].Cost) != 0 || after[0].Hours.Cmp(before[0].Hours) != 0 {
			t.Errorf("with %q left, the bill is %+v; want %+v", left, after, before)
		}
	}
	known, err = f.UsageHorizon(t.Context())
	must(t, err)
	if !known.Equal(cut.Truncate(time.Microsecond)) {
		t.Errorf("usage is known since %v; want %v", known, cut)
	}
	_, err = market.Usage(t.Context(), f, begin, until)
	if backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("a bill that begins before the horizon: %v", err)
	}
}

func usageIsReseeded(t *testing.T, f *fixture) {
	in, gone := f.mustHave(t, "db"), f.mustHave(t, "gone")
	name := "renamed"
	_, err := f.UpdateInstance(t.Context(), in.ID, named(name), nil, none)
	must(t, err)
	must(t, f.RemoveInstance(t.Context(), gone.ID, none, nil))
	other := f.mustHave(t, "other")
	must(t, f.ReseedUsage(t.Context(), newEvent("purged", "", "")))
	all := f.wantUsage(t, market.UsageFilter{}, "CREATED renamed", "CREATED other")
	if all[0].ID != backstay.UsageEventID(in.ID) || all[1].ID != backstay.UsageEventID(other.ID) {
		t.Errorf("reseeded as %+v", all)
	}
	known, err := f.UsageHorizon(t.Context())
	must(t, err)
	if !known.Equal(all[0].CreatedAt) {
		t.Errorf("usage is known since %v; want %v", known, all[0].CreatedAt)
	}
	if got := f.types(t, market.EventFilter{}); !slices.Equal(got, []string{"purged"}) {
		t.Errorf("events %v", got)
	}
	must(t, f.RemoveInstance(t.Context(), other.ID, none, nil))
	f.wantUsage(t, market.UsageFilter{}, "CREATED renamed", "CREATED other", "DELETED other")
}

// usageIsReadOnwardsWithoutGaps reads on from the last event that was seen, while many are made in every
// way at once: whoever does so sees every one, and nobody waits for somebody who waits for them.
func usageIsReadOnwardsWithoutGaps(t *testing.T, f *fixture) {
	const makers, each = 8, 10
	var all sync.WaitGroup
	for range makers {
		all.Go(func() {
			for range each {
				in, j := f.newInstance(uuid.NewString())
				if err := f.AcceptInstance(t.Context(), in, nil, none, j); err != nil {
					t.Error(err)
				}
				if err := f.FinishInstance(
					t.Context(), in.ID, operation(backstay.Create, backstay.Succeeded), inForce, complete(j),
				); err != nil {
					t.Error(err)
				}
				if err := f.KeepCatalog(t.Context(), Broker, catalog("plan", "other"), unrecorded); err != nil {
					t.Error(err)
				}
				var ends sync.WaitGroup
				ends.Go(func() {
					name := uuid.NewString()
					if _, err := f.UpdateInstance(t.Context(), in.ID, named(name), nil, none); err != nil &&
						backstay.KindOf(err) != backstay.NotFound {
						t.Error(err)
					}
				})
				ends.Go(func() {
					if err := f.RemoveInstance(t.Context(), in.ID, none, nil); err != nil {
						t.Error(err)
					}
				})
				ends.Wait()
			}
		})
	}
	made := make(chan struct{})
	go func() { all.Wait(); close(made) }()
	seen, last := 0, backstay.UsageEventID("")
	for done := false; ; {
		l, err := f.UsageEvents(t.Context(), market.UsageFilter{AfterID: last})
		must(t, err)
		if n := len(l.Items); n > 0 {
			seen, last = seen+n, l.Items[n-1].ID
		} else if done {
			break
		}
		select {
		case <-made:
			done = true
		default:
		}
	}
	l, err := f.UsageEvents(t.Context(), market.UsageFilter{})
	must(t, err)
	if seen != len(l.Items) || seen < 2*makers*each {
		t.Errorf("whoever reads on sees %d events of %d", seen, len(l.Items))
	}
}

package markettest

import (
	"maps"
	"strconv"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// aCopyUsesItsConsentUp accepts copies into the space that was consented to, into another one, and of what was deleted.
func aCopyUsesItsConsentUp(t *testing.T, f *fixture) {
	source := f.mustHave(t, "source")
	consent := labels(backstay.CopyLabel, string(f.space.ID))
	must(t, f.UpdateMetadata(t.Context(), market.OfInstance, string(source.ID), consent, none))
	must(t, f.UpdateMetadata(t.Context(), market.OfInstance, string(source.ID), labels("other", "stays"), none))
	accept := func(name string, of backstay.InstanceID, to backstay.SpaceID) {
		in, j := f.newInstance(name)
		copied := backstay.Event{ID: backstay.EventID(in.ID), Type: "audit.service_instance.copy"}
		must(t, f.AcceptCopy(t.Context(), in, nil, market.Copy{Of: of, To: to, Event: copied}, none, j))
		if _, err := f.Job(t.Context(), j.ID); err != nil {
			t.Error(err)
		}
		if _, kept, err := f.InstanceParameters(t.Context(), in.ID); err != nil || kept != of {
			t.Errorf("a copy of %s is kept as one of %q, %v", of, kept, err)
		}
	}
	wantLabels := func(want map[string]string) {
		t.Helper()
		l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{source.ID}})
		must(t, err)
		if got := l.Items[0].Metadata.Labels; !maps.Equal(got, want) {
			t.Errorf("labels %v, want %v", got, want)
		}
	}
	accept("elsewhere", source.ID, "another")
	accept("of-none", "deleted", f.space.ID)
	wantLabels(map[string]string{backstay.CopyLabel: string(f.space.ID), "other": "stays"})
	accept("copy", source.ID, f.space.ID)
	wantLabels(map[string]string{"other": "stays"})
	if types := f.types(t, market.EventFilter{}); len(types) != 3 {
		t.Errorf("events %v; want one of each copy", types)
	}
}

// oneConsentGivesOneCopy accepts many copies at once for which there is one consent.
func oneConsentGivesOneCopy(t *testing.T, f *fixture) {
	source := f.mustHave(t, "source")
	consent := labels(backstay.CopyLabel, string(f.space.ID))
	must(t, f.UpdateMetadata(t.Context(), market.OfInstance, string(source.ID), consent, none))
	var refusals [8]error
	var all sync.WaitGroup
	for i := range refusals {
		all.Go(func() {
			in, j := f.newInstance("copy-" + strconv.Itoa(i))
			c := market.Copy{Of: source.ID, To: f.space.ID, NeedsConsent: true,
				Event: backstay.Event{ID: backstay.EventID(in.ID), Type: "audit.service_instance.copy"}}
			refusals[i] = f.AcceptCopy(t.Context(), in, nil, c, none, j)
		})
	}
	all.Wait()
	accepted := 0
	for _, err := range refusals {
		if err == nil {
			accepted++
		} else if backstay.KindOf(err) != backstay.Unsupported {
			t.Errorf("refused by: %v", err)
		}
	}
	l, err := f.Instances(t.Context(), market.InstanceFilter{SpaceIDs: []backstay.SpaceID{f.space.ID}})
	must(t, err)
	if events := f.types(t, market.EventFilter{}); accepted != 1 || len(l.Items) != 2 || len(events) != 1 {
		t.Errorf("one consent gave %d copies; there are the instances %v, and the events %v", accepted, l.Items, events)
	}
}

// aReturnUsesItsConsentUp accepts a return to which the organization's managers have consented, once.
func aReturnUsesItsConsentUp(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	_, err := f.UpdateOrganization(t.Context(), f.org.ID,
		market.OrganizationUpdate{Update: market.Update{Metadata: labels(market.ConsentLabel, string(in.ID))}}, none)
	must(t, err)
	accept := func() error {
		return f.AcceptInstanceUpdate(t.Context(), in.ID, market.InstanceChange{PlanID: f.plan, ConsentOf: f.org.ID},
			operation(backstay.Update, backstay.InProgress), none, newJob(string(in.ID)))
	}
	must(t, accept())
	wantError(t, accept(), backstay.Busy, "An operation for service instance db is in progress.")
	l, err := f.Organizations(t.Context(), market.OrganizationFilter{IDs: []backstay.OrganizationID{f.org.ID}})
	must(t, err)
	if got := l.Items[0].Metadata.Labels; !maps.Equal(got, map[string]string{market.ConsentLabel: market.ConsentWanted}) {
		t.Errorf("after the return the organization has the labels %v", got)
	}
	must(t, f.FinishInstance(t.Context(), in.ID, operation(backstay.Update, backstay.Failed), inForce,
		backstay.Job{ID: "none", State: backstay.JobFailed, Sentence: "No."}))
	if err := accept(); backstay.KindOf(err) != backstay.Forbidden {
		t.Errorf("with the consent used up: %v", err)
	}
	f.wantPlan(t, in.ID, "plan", "", backstay.Failed) // nothing of it was accepted
}

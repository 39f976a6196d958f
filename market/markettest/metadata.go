package markettest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// labels are a change of labels that sets keys and values, in turn.
func labels(pairs ...string) backstay.MetadataUpdate {
	u := backstay.MetadataUpdate{Labels: map[string]*string{}}
	for i := 0; i < len(pairs); i += 2 {
		u.Labels[pairs[i]] = &pairs[i+1]
	}
	return u
}

func metadataChangesByKey(t *testing.T, f *fixture) {
	_, err := f.UpdateOrganization(t.Context(), f.org.ID,
		market.OrganizationUpdate{Update: market.Update{Metadata: labels("a", "1", "b", "2")}}, none)
	must(t, err)
	u := labels("c", "")
	u.Labels["a"] = nil
	u.Annotations = map[string]*string{"note": u.Labels["c"], "absent": nil}
	name := "renamed"
	o, err := f.UpdateOrganization(t.Context(), f.org.ID,
		market.OrganizationUpdate{Update: market.Update{Name: &name, Metadata: u}}, none)
	must(t, err)
	if o.Name != name || !maps.Equal(o.Metadata.Labels, map[string]string{"b": "2", "c": ""}) ||
		!maps.Equal(o.Metadata.Annotations, map[string]string{"note": ""}) {
		t.Errorf("changed to %+v", o)
	}
	_, err = f.UpdateOrganization(t.Context(), "absent",
		market.OrganizationUpdate{Update: market.Update{Metadata: u}}, none)
	wantError(t, err, backstay.NotFound, "Organization not found")
	wantError(t, f.UpdateMetadata(t.Context(), market.OfPlan, "absent", u, none), backstay.NotFound,
		"Service plan not found")
}

func metadataHasLimits(t *testing.T, f *fixture) {
	update := func(from, to int) error {
		u := backstay.MetadataUpdate{Labels: map[string]*string{}}
		value := ""
		for i := range to - from {
			u.Labels[fmt.Sprint("k", from+i)] = &value
		}
		_, err := f.UpdateOrganization(t.Context(), f.org.ID,
			market.OrganizationUpdate{Update: market.Update{Metadata: u}}, none)
		return err
	}
	must(t, update(0, 30))
	wantError(t, update(30, 51), backstay.Invalid, "Failed to add 21 labels because it would exceed maximum of 50")
	must(t, update(30, 50))
	must(t, update(0, 50))
	wantError(t, update(50, 51), backstay.Invalid, "Failed to add 1 labels because it would exceed maximum of 50")
	l, err := f.Organizations(t.Context(), market.OrganizationFilter{})
	must(t, err)
	if n := len(l.Items[0].Metadata.Labels); n != 50 {
		t.Errorf("there are %d labels, want 50", n)
	}
}

// everyResourceHasMetadata gives each kind of resource labels, when it is made and afterwards, and finds it
// by them.
func everyResourceHasMetadata(t *testing.T, f *fixture) {
	made := backstay.Metadata{Labels: map[string]string{"made": ""}, Annotations: map[string]string{"a": "x"}}
	_, err := f.AddOrganization(t.Context(), backstay.Organization{ID: "org2", Name: "org2", Metadata: made}, none)
	must(t, err)
	_, err = f.AddSpace(
		t.Context(), backstay.Space{ID: "space2", OrganizationID: f.org.ID, Name: "space2", Metadata: made}, none,
	)
	must(t, err)
	_, err = f.AddApp(t.Context(), backstay.App{ID: "app2", SpaceID: f.space.ID, Name: "app2", Metadata: made}, none)
	must(t, err)
	in, j := f.newInstance("db")
	in.Metadata = made
	must(t, f.AcceptInstance(t.Context(), in, nil, none, j))
	must(t, f.ReportInstance(t.Context(), in.ID, operation(backstay.Create, backstay.Succeeded)))
	b, j := f.newBinding(in.ID, backstay.KeyBinding, "key")
	b.Metadata = made
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
	for of, id := range map[market.MetadataOf]string{
		market.OfInstance: string(in.ID), market.OfBinding: string(b.ID), market.OfOffering: string(offeringID),
		market.OfBroker: string(Broker.ID),
		market.OfPlan:   string(f.plan), market.OfUser: string(Admin.UserID),
	} {
		must(t, f.UpdateMetadata(t.Context(), of, id, labels("later", ""), none))
	}
	_, err = f.UpdateSpace(t.Context(), "space2",
		market.SpaceUpdate{Update: market.Update{Metadata: labels("later", "")}}, none)
	must(t, err)
	_, err = f.UpdateApp(t.Context(), "app2", market.Update{Metadata: labels("later", "")}, none)
	must(t, err)
	// A catalog leaves what users have noted.
	must(t, f.KeepCatalog(t.Context(), Broker, catalog("plan", "other"), unrecorded))

	both := market.Match{Labels: market.Selector{{Key: "made"}, {Key: "later"}}}
	later := market.Match{Labels: market.Selector{{Key: "later", Values: []string{""}}}}
	found(t, "organization", f.Organizations, market.OrganizationFilter{Match: market.Match{Labels: both.Labels[:1]}})
	found(t, "space", f.Spaces, market.SpaceFilter{Match: both})
	found(t, "app", f.Apps, market.AppFilter{Match: both})
	found(t, "instance", f.Instances, market.InstanceFilter{Match: both})
	found(t, "binding", f.Bindings, market.BindingFilter{Match: both})
	found(t, "broker", f.ServiceBrokers, market.BrokerFilter{Match: later})
	found(t, "offering", f.Offerings, market.OfferingFilter{Match: later})
	found(t, "plan", f.Plans, market.PlanFilter{Match: later})
	found(t, "user", f.Users, market.UserFilter{Match: later})
}

// found checks that a list has one item.
func found[F, T any](t *testing.T, what string, list func(context.Context, F) (market.List[T], error), f F) {
	t.Helper()
	l, err := list(t.Context(), f)
	must(t, err)
	if l.Total != 1 {
		t.Errorf("%d of the kind %s are found by label, want 1", l.Total, what)
	}
}

// holds is what a selector means, said in another way than the store does.
func holds(s market.Selector, labels map[string]string) bool {
	for _, r := range s {
		value, there := labels[r.Key]
		if is := there && (r.Values == nil || slices.Contains(r.Values, value)); is == r.Not {
			return false
		}
	}
	return true
}

// selectorsNarrow compares the store's answers with holds, for labels and selectors made up at random.
func selectorsNarrow(t *testing.T, f *fixture) {
	keys, values := []string{"a", "b", "x.example/a"}, []string{"", "1", "2", "a"}
	pick := func(from []string) string { return from[rand.IntN(len(from))] }
	all := map[backstay.AppID]map[string]string{f.app.ID: {}}
	for i := range 40 {
		a := backstay.App{ID: backstay.AppID(fmt.Sprint("app-", i)), SpaceID: f.space.ID, Name: fmt.Sprint("app-", i)}
		a.Metadata.Labels = map[string]string{}
		for range rand.IntN(4) {
			a.Metadata.Labels[pick(keys)] = pick(values)
		}
		_, err := f.AddApp(t.Context(), a, none)
		must(t, err)
		all[a.ID] = a.Metadata.Labels
	}
	for range 300 {
		var s market.Selector
		for range 1 + rand.IntN(3) {
			r := market.Requirement{Not: rand.IntN(2) == 0, Key: pick(keys)}
			for range rand.IntN(4) {
				r.Values = append(r.Values, pick(values))
			}
			s = append(s, r)
		}
		l, err := f.Apps(t.Context(), market.AppFilter{Match: market.Match{Labels: s}})
		must(t, err)
		got, want := map[backstay.AppID]bool{}, map[backstay.AppID]bool{}
		for _, a := range l.Items {
			got[a.ID] = true
		}
		for id, labels := range all {
			if holds(s, labels) {
				want[id] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%+v selects %v, want %v of %v", s, got, want, all)
		}
	}
}

func timesNarrowToTheSecond(t *testing.T, f *fixture) {
	second := f.org.CreatedAt.UTC().Truncate(time.Second)
	before, after := second.Add(-time.Second), second.Add(time.Second)
	for _, c := range []struct {
		times market.Times
		want  int
	}{
		{market.Times{Seconds: []time.Time{second}}, 1},
		{market.Times{Seconds: []time.Time{before, after}}, 0},
		{market.Times{Since: &second}, 1},
		{market.Times{Since: &after}, 0},
		{market.Times{Before: &after}, 1},
		{market.Times{Before: &second}, 0},
		{market.Times{Since: &before, Before: &after}, 1},
		{market.Times{Before: new(time.Time)}, 0},
	} {
		l, err := f.Organizations(t.Context(), market.OrganizationFilter{Match: market.Match{Created: c.times}})
		must(t, err)
		if l.Total != c.want {
			t.Errorf("made %+v: %d, want %d; it was at %v", c.times, l.Total, c.want, f.org.CreatedAt)
		}
		updated, err := f.Organizations(t.Context(), market.OrganizationFilter{Match: market.Match{Updated: c.times}})
		must(t, err)
		if updated.Total != c.want {
			t.Errorf("changed %+v: %d, want %d", c.times, updated.Total, c.want)
		}
	}
}

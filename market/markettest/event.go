package markettest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func newEvent(kind, target string, at backstay.OrganizationID) backstay.Event {
	return backstay.Event{
		ID: backstay.EventID(uuid.NewString()), Type: kind,
		Actor:  backstay.Actor{UserID: "user", Username: "user", Address: "192.0.2.7"},
		Target: backstay.Target{ID: target, Type: "thing", Name: target}, OrganizationID: at,
		Data: json.RawMessage(`{"a": 1}`),
	}
}

// types are those of all events, oldest first.
func (f *fixture) types(t *testing.T, filter market.EventFilter) (types []string) {
	t.Helper()
	l, err := f.Events(t.Context(), filter)
	must(t, err)
	for _, e := range l.Items {
		types = append(types, e.Type)
	}
	return types
}

func removalsAreRecordedOnce(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	b, j := f.newBinding(in.ID, backstay.KeyBinding, "key")
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
	for range 2 {
		must(t, f.RemoveBinding(t.Context(), b.ID, newEvent("binding", "x", f.org.ID), nil))
		must(t, f.RemoveInstance(t.Context(), in.ID, newEvent("instance", "x", f.org.ID), nil))
		must(t, f.RemoveApp(t.Context(), f.app.ID, newEvent("app", "x", f.org.ID)))
		must(t, f.RemoveSpace(t.Context(), f.space.ID, newEvent("space", "x", f.org.ID)))
	}
	if got, want := f.types(t, market.EventFilter{}), []string{
		"binding", "instance", "app", "space",
	}; !slices.Equal(got, want) {
		t.Errorf("events %v; want %v", got, want)
	}
}

func eventsAreFoundAndForgotten(t *testing.T, f *fixture) {
	for i := range 5 {
		e := newEvent(
			fmt.Sprint("audit.", i), fmt.Sprint("target", i%2), backstay.OrganizationID(fmt.Sprint("org", i)),
		)
		e.SpaceID = backstay.SpaceID(fmt.Sprint("space", i))
		must(t, f.RecordEvent(t.Context(), e))
	}
	all, err := f.Events(t.Context(), market.EventFilter{})
	must(t, err)
	if e := all.Items[0]; e.Actor.Address != "192.0.2.7" || e.Target.Name != "target0" ||
		e.Actor.Username != "user" || e.OrganizationID != "org0" || e.CreatedAt.IsZero() {
		t.Errorf("kept as %+v", e)
	}
	third := all.Items[2].CreatedAt
	for name, c := range map[string]struct {
		filter market.EventFilter
		want   []string
	}{
		"by target":       {market.EventFilter{TargetIDs: []string{"target1"}}, []string{"audit.1", "audit.3"}},
		"by no target":    {market.EventFilter{NotTargetIDs: []string{"target0"}}, []string{"audit.1", "audit.3"}},
		"by type":         {market.EventFilter{Types: []string{"audit.4", "audit.5"}}, []string{"audit.4"}},
		"by space":        {market.EventFilter{SpaceIDs: []backstay.SpaceID{"space2"}}, []string{"audit.2"}},
		"by organization": {market.EventFilter{OrganizationIDs: []backstay.OrganizationID{"org2"}}, []string{"audit.2"}},
		"by id":           {market.EventFilter{IDs: []backstay.EventID{all.Items[3].ID}}, []string{"audit.3"}},
		"from": {
			market.EventFilter{Match: market.Match{Created: market.Times{Since: &third}}},
			[]string{"audit.2", "audit.3", "audit.4"},
		},
		"before": {
			market.EventFilter{Match: market.Match{Created: market.Times{Before: &third}}}, []string{"audit.0", "audit.1"},
		},
		"at": {
			market.EventFilter{Match: market.Match{Created: market.Times{
				Seconds: []time.Time{third.Add(time.Hour).Truncate(time.Second)},
			}}}, nil,
		},
		"latest first": {
			market.EventFilter{
				Order: market.Order{By: market.ByUpdate, Descending: true}, Page: market.Page{Number: 1, Size: 2},
			},
			[]string{"audit.4", "audit.3"},
		},
	} {
		if got := f.types(t, c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v; want %v", name, got, c.want)
		}
	}
	if got := f.types(
		t,
		market.EventFilter{Match: market.Match{Created: market.Times{Seconds: []time.Time{third.Truncate(time.Second)}}}},
	); !slices.Contains(got, "audit.2") {
		t.Errorf("within the second of the third: %v", got)
	}
	removed, err := f.RemoveEvents(t.Context(), third, 1)
	must(t, err)
	if got := f.types(t, market.EventFilter{}); removed != 1 || got[0] != "audit.1" {
		t.Errorf("%d of one removed, left %v", removed, got)
	}
	removed, err = f.RemoveEvents(t.Context(), third, 9)
	must(t, err)
	if got := f.types(t, market.EventFilter{}); removed != 1 || len(got) != 3 {
		t.Errorf("%d of one removed, left %v", removed, got)
	}
}

func aJobRecordsItsCompletion(t *testing.T, f *fixture) {
	for _, end := range []backstay.JobState{backstay.JobComplete, backstay.JobFailed} {
		j := newJob("x")
		j.By = backstay.Actor{UserID: "user", Username: "user", Address: "192.0.2.7"}
		j.Completed = newEvent("audit."+string(end), "x", f.org.ID)
		j.Completed.Data = nil
		must(t, f.AcceptJob(t.Context(), newEvent("audit.start", "x", f.org.ID), j))
		kept, err := f.Job(t.Context(), j.ID)
		must(t, err)
		if kept.By != j.By {
			t.Errorf("asked for by %+v; want %+v", kept.By, j.By)
		}
		must(t, f.FinishJob(t.Context(), backstay.Job{ID: j.ID, State: end, Sentence: "it ended"}))
	}
	l, err := f.Events(t.Context(), market.EventFilter{})
	must(t, err)
	if len(l.Items) != 3 || l.Items[1].Type != "audit.COMPLETE" || l.Items[1].Actor.Address != "192.0.2.7" ||
		string(l.Items[1].Data) != "{}" {
		t.Errorf("recorded %+v", l.Items)
	}
}

func refusalsAreBounded(t *testing.T, f *fixture) {
	began := time.Now().Add(-time.Minute)
	refuse := func(target string, at backstay.OrganizationID, since time.Time) {
		must(t, f.RecordRefusal(t.Context(), newEvent("audit.request.refused", target, at), since, 3))
	}
	count := func(want int) {
		t.Helper()
		if got := f.types(t, market.EventFilter{}); len(got) != want {
			t.Errorf("%d refusals are recorded; want %d", len(got), want)
		}
	}
	refuse("a", "org", began)
	refuse("a", "org", began)
	count(1)
	refuse("a", "org", time.Now().Add(time.Minute)) // as if much later
	count(2)
	for i := range 5 {
		refuse(fmt.Sprint(i), "org", began)
	}
	count(3)
	refuse("a", "other", began)
	count(4)
}

func thingsAreLocated(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	b, j := f.newBinding(in.ID, backstay.KeyBinding, "key")
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
	member, err := f.AddRole(
		t.Context(),
		backstay.Role{ID: "r1", Type: "organization_user", UserID: Admin.UserID, OrganizationID: f.org.ID}, none,
	)
	must(t, err)
	developer, err := f.AddRole(
		t.Context(), backstay.Role{ID: "r2", Type: "space_developer", UserID: Admin.UserID, SpaceID: f.space.ID}, none,
	)
	must(t, err)
	quota, spaceQuota := f.mustLimit(t, false, backstay.Limits{}), f.mustLimit(t, true, backstay.Limits{})
	for _, want := range []market.Location{
		{Target: backstay.Target{ID: string(quota.ID), Type: "organization_quota", Name: quota.Name}},
		{
			Target:         backstay.Target{ID: string(spaceQuota.ID), Type: "space_quota", Name: spaceQuota.Name},
			OrganizationID: "org",
		},
		{Target: backstay.Target{ID: "org", Type: "organization", Name: "org"}, OrganizationID: "org"},
		{Target: backstay.Target{ID: "space", Type: "space", Name: "space"}, OrganizationID: "org", SpaceID: "space"},
		{Target: backstay.Target{ID: "app", Type: "app", Name: "app"}, OrganizationID: "org", SpaceID: "space"},
		{
			Target:         backstay.Target{ID: string(in.ID), Type: "service_instance", Name: "db"},
			OrganizationID: "org", SpaceID: "space",
		},
		{
			Target:         backstay.Target{ID: string(b.ID), Type: "service_key", Name: "key"},
			OrganizationID: "org", SpaceID: "space",
		},
		{Target: backstay.Target{ID: string(member.ID), Type: "role", Name: "organization_user"}, OrganizationID: "org"},
		{
			Target:         backstay.Target{ID: string(developer.ID), Type: "role", Name: "space_developer"},
			OrganizationID: "org", SpaceID: "space",
		},
	} {
		got, err := f.Locate(t.Context(), want.Target.ID)
		must(t, err)
		if got != want {
			t.Errorf("%s is %+v; want %+v", want.Target.ID, got, want)
		}
	}
	_, err = f.Locate(t.Context(), "nothing")
	wantError(t, err, backstay.NotFound, "Resource not found")
}

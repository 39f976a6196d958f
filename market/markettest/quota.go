package markettest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// mustLimit gives the fixture's organization a quota of its own, or its space.
func (f *fixture) mustLimit(t *testing.T, forSpace bool, limits backstay.Limits) backstay.Quota {
	t.Helper()
	q := backstay.Quota{
		ID: backstay.QuotaID(uuid.NewString()), Name: uuid.NewString(), PaidPlans: true, Limits: limits,
		OrganizationIDs: []backstay.OrganizationID{f.org.ID},
	}
	if forSpace {
		q.OrganizationID, q.OrganizationIDs, q.SpaceIDs = f.org.ID, nil, []backstay.SpaceID{f.space.ID}
	}
	added, err := f.AddQuota(t.Context(), q, none)
	must(t, err)
	return added
}

func (f *fixture) quota(t *testing.T, filter market.QuotaFilter) backstay.Quota {
	t.Helper()
	l, err := f.Quotas(t.Context(), filter)
	must(t, err)
	if len(l.Items) != 1 {
		t.Fatalf("%d quotas for %+v, want one", len(l.Items), filter)
	}
	return l.Items[0]
}

func organizationsBeginWithTheDefaultQuota(t *testing.T, f *fixture) {
	q := f.quota(t, market.QuotaFilter{OrganizationIDs: []backstay.OrganizationID{f.org.ID}})
	if q.ID != backstay.DefaultQuota || f.org.QuotaID != q.ID || q.Name != "default" || q.PaidPlans ||
		q.Limits[backstay.ServiceInstances] != 10 {
		t.Errorf("a new organization has the quota %+v", q)
	}
	if f.space.QuotaID != "" {
		t.Errorf("a new space has the quota %s", f.space.QuotaID)
	}
}

func quotasHaveNamesAndChange(t *testing.T, f *fixture) {
	q := f.mustLimit(t, false, backstay.Limits{backstay.Memory: 1, backstay.Routes: 2})
	add := func(organization backstay.OrganizationID, name string) error {
		_, err := f.AddQuota(
			t.Context(),
			backstay.Quota{
				ID: backstay.QuotaID(uuid.NewString()), OrganizationID: organization, Name: name, Limits: backstay.Limits{},
			},
			none,
		)
		return err
	}
	wantError(t, add("", q.Name), backstay.Taken, "Organization Quota '"+q.Name+"' already exists.")
	must(t, add(f.org.ID, q.Name))
	wantError(t, add(f.org.ID, q.Name), backstay.Taken, "Space Quota '"+q.Name+"' already exists.")

	taken, name, five := "default", "other", int64(5)
	wantError(t, f.UpdateQuota(t.Context(), q.ID, market.QuotaUpdate{Name: &taken}, none), backstay.Taken,
		"Organization Quota 'default' already exists.")
	wantError(t, f.UpdateQuota(t.Context(), "absent", market.QuotaUpdate{}, none), backstay.NotFound,
		"Quota not found")
	must(t, f.UpdateQuota(t.Context(), q.ID, market.QuotaUpdate{}, none))
	must(
		t,
		f.UpdateQuota(
			t.Context(),
			q.ID,
			market.QuotaUpdate{
				Name: &name, Limits: map[backstay.Limit]*int64{backstay.Memory: nil, backstay.ServiceKeys: &five},
			},
			none,
		),
	)
	q = f.quota(t, market.QuotaFilter{Names: []string{name}})
	if !q.PaidPlans || fmt.Sprint(q.Limits) != fmt.Sprint(backstay.Limits{backstay.Routes: 2, backstay.ServiceKeys: 5}) {
		t.Errorf("after a change: %+v", q)
	}
}

func quotasAreApplied(t *testing.T, f *fixture) {
	q, sq := f.mustLimit(t, false, backstay.Limits{}), f.mustLimit(t, true, backstay.Limits{})
	if got := f.quota(
		t, market.QuotaFilter{IDs: []backstay.QuotaID{q.ID}},
	); !slices.Equal(got.OrganizationIDs, []backstay.OrganizationID{f.org.ID}) {
		t.Errorf("the quota is applied to %v", got.OrganizationIDs)
	}
	if got := f.quota(
		t, market.QuotaFilter{ForSpaces: true, SpaceIDs: []backstay.SpaceID{f.space.ID}},
	); got.ID != sq.ID || !slices.Equal(got.SpaceIDs, []backstay.SpaceID{f.space.ID}) {
		t.Errorf("the space has the quota %+v", got)
	}
	wantError(t, f.RemoveQuota(t.Context(), q.ID), backstay.Invalid,
		"This quota is applied to one or more organizations. Apply different quotas to those organizations before "+
			"deleting.")
	wantError(t, f.RemoveQuota(t.Context(), sq.ID), backstay.Invalid,
		"This quota is applied to one or more spaces. Remove this quota from all spaces before deleting.")

	elsewhere, err := f.AddOrganization(t.Context(), backstay.Organization{ID: "elsewhere", Name: "elsewhere"}, none)
	must(t, err)
	_, err = f.AddSpace(t.Context(), backstay.Space{ID: "far", OrganizationID: elsewhere.ID, Name: "far"}, none)
	must(t, err)
	wantError(
		t, f.ApplySpaceQuota(t.Context(), sq, []backstay.SpaceID{f.space.ID, "far", "absent"}, nil), backstay.Invalid,
		`Spaces with guids ["far", "absent"] do not exist within the organization specified, `+
			`or you do not have access to them.`,
	)
	wantError(t,
		f.ApplyQuota(t.Context(), q.ID, []backstay.OrganizationID{elsewhere.ID, "absent"}, nil), backstay.Invalid,
		`Organizations with guids ["absent"] do not exist, or you do not have access to them.`)
	if got := f.quota(
		t, market.QuotaFilter{OrganizationIDs: []backstay.OrganizationID{elsewhere.ID}},
	); got.ID != backstay.DefaultQuota {
		t.Errorf("an application that failed has left the quota %+v", got)
	}

	wantError(t, f.RemoveSpaceQuota(t.Context(), q.ID, f.space.ID, none), backstay.Invalid,
		"Unable to remove quota from space with guid 'space'. Ensure the space quota is applied to this space.")
	must(t, f.RemoveSpaceQuota(t.Context(), sq.ID, f.space.ID, none))
	must(t, f.RemoveQuota(t.Context(), sq.ID))
	must(t, f.RemoveQuota(t.Context(), sq.ID))
	must(t, f.ApplyQuota(t.Context(), backstay.DefaultQuota, []backstay.OrganizationID{f.org.ID}, nil))
	must(t, f.RemoveQuota(t.Context(), q.ID))
	wantError(t, f.ApplyQuota(t.Context(), q.ID, []backstay.OrganizationID{f.org.ID}, nil), backstay.NotFound,
		"Quota not found")
}

func quotasAreSeenByThoseWhoHaveThem(t *testing.T, f *fixture) {
	f.mustKnow(t, "member", "auditor", "manager")
	q, sq := f.mustLimit(t, false, backstay.Limits{}), f.mustLimit(t, true, backstay.Limits{})
	_, err := f.AddOrganization(t.Context(), backstay.Organization{ID: "elsewhere", Name: "elsewhere"}, none)
	must(t, err)
	must(t, f.ApplyQuota(t.Context(), q.ID, []backstay.OrganizationID{"elsewhere"}, nil))
	for _, r := range []backstay.Role{
		{ID: "1", Type: "organization_user", UserID: "member", OrganizationID: f.org.ID},
		{ID: "2", Type: "space_auditor", UserID: "member", SpaceID: f.space.ID},
		{ID: "3", Type: "organization_auditor", UserID: "auditor", OrganizationID: f.org.ID},
		{ID: "4", Type: "organization_manager", UserID: "manager", OrganizationID: f.org.ID},
	} {
		_, err := f.AddRole(t.Context(), r, none)
		must(t, err)
	}
	for _, tc := range []struct {
		viewer        backstay.UserID
		space         bool // sees the space's quota
		organizations int  // sees this many organizations that have q
	}{{"member", true, 1}, {"manager", true, 1}, {"auditor", false, 1}, {"stranger", false, 0}} {
		page := market.Page{Number: 1, Size: 1} // so that the total is counted
		of, err := f.Quotas(t.Context(), market.QuotaFilter{Viewer: &tc.viewer, Page: page})
		must(t, err)
		if of.Total != tc.organizations || of.Total == 1 &&
			(of.Items[0].ID != q.ID || len(of.Items[0].OrganizationIDs) != 1) {
			t.Errorf("%s sees %d quotas of organizations: %+v", tc.viewer, of.Total, of.Items)
		}
		of, err = f.Quotas(
			t.Context(),
			market.QuotaFilter{OrganizationIDs: []backstay.OrganizationID{"elsewhere"}, Viewer: &tc.viewer},
		)
		must(t, err)
		if of.Total != 0 {
			t.Errorf("%s learns the quota of an organization that is not theirs: %+v", tc.viewer, of.Items)
		}
		of, err = f.Quotas(t.Context(), market.QuotaFilter{ForSpaces: true, Viewer: &tc.viewer, Page: page})
		must(t, err)
		if (of.Total == 1) != tc.space || tc.space && of.Items[0].ID != sq.ID {
			t.Errorf("%s sees %d quotas of spaces, %+v", tc.viewer, of.Total, of.Items)
		}
	}
}

const (
	organizationFull = "You have exceeded your organization's services limit. " +
		"Ask an administrator for another quota of the organization."
	spaceFull = "You have exceeded your space's services limit. " +
		"Ask a manager of the organization for another quota of the space."
)

// accept tries to have one more instance.
func (f *fixture) accept(t *testing.T) error {
	in, j := f.newInstance(uuid.NewString())
	return f.AcceptInstance(t.Context(), in, nil, none, j)
}

func quotasLimitInstances(t *testing.T, f *fixture) {
	f.mustProvide(t, "purse") // what its user provides does not count
	first := f.mustHave(t, "first")
	q := f.mustLimit(t, false, backstay.Limits{backstay.ServiceInstances: 1})
	wantError(t, f.accept(t), backstay.Invalid, organizationFull)
	wantError(t, f.AdmitInstance(t.Context(), f.space.ID, f.plan), backstay.Invalid, organizationFull)
	taken, j := f.newInstance("first")
	wantError(t, f.AcceptInstance(t.Context(), taken, nil, none, j), backstay.Taken,
		"The service instance name is taken: first.")
	must(t, f.RemoveInstance(t.Context(), first.ID, none, nil))
	must(t, f.accept(t))

	two := int64(2)
	must(
		t,
		f.UpdateQuota(t.Context(), q.ID,
			market.QuotaUpdate{Limits: map[backstay.Limit]*int64{backstay.ServiceInstances: &two}}, none),
	)
	sq := f.mustLimit(t, true, backstay.Limits{backstay.ServiceInstances: 1})
	wantError(t, f.accept(t), backstay.Invalid, spaceFull)
	other, err := f.AddSpace(t.Context(), backstay.Space{ID: "other", OrganizationID: f.org.ID, Name: "other"}, none)
	must(t, err)
	here := f.space
	f.space = other
	must(t, f.accept(t))
	wantError(t, f.accept(t), backstay.Invalid, organizationFull)
	must(
		t,
		f.UpdateQuota(t.Context(), q.ID,
			market.QuotaUpdate{Limits: map[backstay.Limit]*int64{backstay.ServiceInstances: nil}}, none),
	)
	must(t, f.accept(t))
	f.space = here
	wantError(t, f.accept(t), backstay.Invalid, spaceFull)
	must(t, f.RemoveSpaceQuota(t.Context(), sq.ID, here.ID, none))
	must(t, f.accept(t))
}

func quotasLimitKeys(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	f.mustLimit(t, false, backstay.Limits{backstay.ServiceKeys: 2})
	accept := func(kind backstay.BindingType, name string) error {
		b, j := f.newBinding(in.ID, kind, name)
		return f.AcceptBinding(t.Context(), b, 1, nil, none, j)
	}
	must(t, accept(backstay.KeyBinding, "one"))
	f.mustLimit(t, true, backstay.Limits{backstay.ServiceKeys: 1})
	wantError(t, accept(backstay.KeyBinding, "two"), backstay.Invalid,
		"You have exceeded your space's limit for service binding of type key. "+
			"Ask a manager of the organization for another quota of the space.")
	must(
		t,
		f.ApplySpaceQuota(t.Context(), f.mustLimit(t, true, backstay.Limits{}), []backstay.SpaceID{f.space.ID}, nil),
	)
	must(t, accept(backstay.KeyBinding, "two"))
	wantError(t, accept(backstay.KeyBinding, "three"), backstay.Invalid,
		"You have exceeded your organization's limit for service binding of type key. "+
			"Ask an administrator for another quota of the organization.")
	wantError(t, accept(backstay.KeyBinding, "two"), backstay.Taken,
		"The binding name is invalid. Key binding names must be unique. The service instance already has a key "+
			"binding with name 'two'.")
	must(t, accept(backstay.AppBinding, ""))
}

func quotasForbidPaidPlans(t *testing.T, f *fixture) {
	offerings := catalog("plan")
	offerings[0].Plans = append(offerings[0].Plans, catalogPlan("paid", false))
	must(t, f.KeepCatalog(t.Context(), Broker, offerings, unrecorded))
	f.plan = planID("paid")
	wantError(t, f.accept(t), backstay.Invalid,
		"The service instance cannot be created because paid service plans are not allowed. "+
			"Ask an administrator for another quota of the organization.")
	f.mustLimit(t, false, backstay.Limits{})
	sq, no, yes := f.mustLimit(t, true, backstay.Limits{}), false, true
	must(t, f.UpdateQuota(t.Context(), sq.ID, market.QuotaUpdate{PaidPlans: &no}, none))
	wantError(t, f.accept(t), backstay.Invalid,
		"The service instance cannot be created because paid service plans are not allowed for your space. "+
			"Ask a manager of the organization for another quota of the space.")
	must(t, f.UpdateQuota(t.Context(), sq.ID, market.QuotaUpdate{PaidPlans: &yes}, none))
	must(t, f.accept(t))
}

// race counts how many of many that begin at once succeed; the others must be refused with the sentence.
func race(t *testing.T, sentence string, racers int, accept func(i int) error) (winners int) {
	errs := make(chan error, racers)
	start := make(chan struct{})
	for i := range racers {
		go func() {
			<-start
			errs <- accept(i)
		}()
	}
	close(start)
	for range racers {
		if err := <-errs; err == nil {
			winners++
		} else {
			wantError(t, err, backstay.Invalid, sentence)
		}
	}
	return winners
}

// kinds are the quotas that racers race for the last places of.
var kinds = []struct {
	name                  string
	forSpace              bool
	instanceSays, keySays string
}{
	{
		"organization", false, organizationFull,
		"You have exceeded your organization's limit for service binding of type key. " +
			"Ask an administrator for another quota of the organization.",
	},
	{"space", true, spaceFull, "You have exceeded your space's limit for service binding of type key. " +
		"Ask a manager of the organization for another quota of the space."},
}

const racers, places = 40, 3

func theLastPlacesGoToAsManyInstances(t *testing.T, f *fixture) {
	for _, of := range kinds {
		f.mustLimit(t, false, backstay.Limits{})
		counted := market.InstanceFilter{}
		if of.forSpace {
			counted.SpaceIDs = []backstay.SpaceID{f.space.ID}
		}
		l, err := f.Instances(t.Context(), counted)
		must(t, err)
		f.mustLimit(t, of.forSpace, backstay.Limits{backstay.ServiceInstances: int64(l.Total + places)})
		other, err := f.AddSpace(
			t.Context(),
			backstay.Space{ID: backstay.SpaceID(uuid.NewString()), OrganizationID: f.org.ID, Name: "beside-" + of.name}, none,
		)
		must(t, err)
		if won := race(t, of.instanceSays, racers, func(i int) error {
			in, j := f.newInstance(fmt.Sprintf("%s-%d", of.name, i))
			if !of.forSpace && i%2 == 0 {
				in.SpaceID = other.ID // the organization's places are for all its spaces
			}
			return f.AcceptInstance(t.Context(), in, nil, none, j)
		}); won != places {
			t.Errorf("%d creates won the last %d places of the %s", won, places, of.name)
		}
	}
}

func theLastPlacesGoToAsManyKeys(t *testing.T, f *fixture) {
	instances := []backstay.Instance{f.mustHave(t, "a"), f.mustHave(t, "b"), f.mustHave(t, "c")}
	for round, of := range kinds {
		f.mustLimit(t, false, backstay.Limits{})
		f.mustLimit(t, of.forSpace, backstay.Limits{backstay.ServiceKeys: int64((round + 1) * places)})
		if won := race(t, of.keySays, racers, func(i int) error {
			b, j := f.newBinding(instances[i%len(instances)].ID, backstay.KeyBinding, fmt.Sprintf("%s-%d", of.name, i))
			return f.AcceptBinding(t.Context(), b, 1, nil, none, j)
		}); won != places {
			t.Errorf("%d keys won the last %d places of the %s", won, places, of.name)
		}
	}
}

func privatePlansBeginHidden(t *testing.T, f *fixture) {
	offerings := append(catalog("plan"), backstay.CatalogOffering{
		ID: "beta", Name: "beta", Private: true,
		Plans: []backstay.CatalogPlan{catalogPlan("tiny", true), catalogPlan("small", true)},
	})
	must(t, f.KeepCatalog(t.Context(), Broker, offerings, unrecorded))
	f.wantVisibility(t, planID("plan"), backstay.PublicPlan)
	f.wantVisibility(t, planID("tiny"), backstay.AdminPlan)

	// What is said of a plan holds, whatever a catalog says later.
	must(t, f.SetPlanVisibility(t.Context(), planID("tiny"), backstay.PublicPlan, nil, true, none))
	must(t, f.SetPlanVisibility(t.Context(), planID("plan"), backstay.AdminPlan, nil, true, none))
	must(t, f.KeepCatalog(t.Context(), Broker, offerings, unrecorded))
	f.wantVisibility(t, planID("plan"), backstay.AdminPlan)
	f.wantVisibility(t, planID("tiny"), backstay.PublicPlan)
	f.wantVisibility(t, planID("small"), backstay.AdminPlan)
	offerings[1].Private = false
	must(t, f.KeepCatalog(t.Context(), Broker, offerings, unrecorded))
	f.wantVisibility(t, planID("small"), backstay.AdminPlan)
}

func (f *fixture) wantVisibility(t *testing.T, id backstay.PlanID, want backstay.Visibility) {
	t.Helper()
	l, err := f.Plans(t.Context(), market.PlanFilter{IDs: []backstay.PlanID{id}})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].Visibility != want {
		t.Errorf("plan %s is %+v, want it to be for %s", id, l.Items, want)
	}
}

func plansAreSeenWhereTheyAreEnabled(t *testing.T, f *fixture) {
	f.mustKnow(t, "member", "user")
	_, err := f.AddOrganization(t.Context(), backstay.Organization{ID: "elsewhere", Name: "elsewhere"}, none)
	must(t, err)
	_, err = f.AddSpace(t.Context(), backstay.Space{ID: "far", OrganizationID: "elsewhere", Name: "far"}, none)
	must(t, err)
	for _, r := range []backstay.Role{
		{ID: "1", Type: "organization_user", UserID: "member", OrganizationID: f.org.ID},
		{ID: "2", Type: "space_developer", UserID: "member", SpaceID: f.space.ID},
		{ID: "3", Type: "organization_user", UserID: "user", OrganizationID: f.org.ID},
	} {
		_, err := f.AddRole(t.Context(), r, none)
		must(t, err)
	}
	must(
		t,
		f.SetPlanVisibility(t.Context(), planID("other"), backstay.OrganizationPlan, []backstay.OrganizationID{f.org.ID},
			false, none),
	)
	member, user, stranger, nobody := backstay.UserID(
		"member",
	), backstay.UserID("user"), backstay.UserID("stranger"), backstay.UserID("")
	here, far := []backstay.SpaceID{f.space.ID}, []backstay.SpaceID{"far"}
	org, elsewhere := []backstay.OrganizationID{f.org.ID}, []backstay.OrganizationID{"elsewhere"}
	for name, tc := range map[string]struct {
		access market.Access
		sees   bool
	}{
		"all":                        {market.Access{}, true},
		"here":                       {market.Access{SpaceIDs: here}, true},
		"far":                        {market.Access{SpaceIDs: far}, false},
		"in the organization":        {market.Access{OrganizationIDs: org}, true},
		"elsewhere":                  {market.Access{OrganizationIDs: elsewhere}, false},
		"here, elsewhere":            {market.Access{SpaceIDs: here, OrganizationIDs: elsewhere}, false},
		"nowhere":                    {market.Access{SpaceIDs: []backstay.SpaceID{}}, false},
		"member":                     {market.Access{Viewer: &member}, true},
		"member, here":               {market.Access{Viewer: &member, SpaceIDs: here}, true},
		"member, far":                {market.Access{Viewer: &member, SpaceIDs: far}, false},
		"member, elsewhere":          {market.Access{Viewer: &member, OrganizationIDs: elsewhere}, false},
		"user, in the organization":  {market.Access{Viewer: &user, OrganizationIDs: org}, true},
		"user, in a space not seen":  {market.Access{Viewer: &user, SpaceIDs: here}, false},
		"stranger":                   {market.Access{Viewer: &stranger}, false},
		"stranger, where it is":      {market.Access{Viewer: &stranger, OrganizationIDs: org}, false},
		"nobody, among what is held": {market.Access{Viewer: &nobody, Held: true}, false},
	} {
		want := 1
		if tc.sees {
			want = 2
		}
		l, err := f.Plans(t.Context(), market.PlanFilter{Access: tc.access})
		must(t, err)
		if len(l.Items) != want {
			t.Errorf("%s: %d plans, want %d", name, len(l.Items), want)
		}
		must(t, f.SetPlanVisibility(t.Context(), planID("plan"), backstay.AdminPlan, nil, false, none))
		o, err := f.Offerings(t.Context(), market.OfferingFilter{Access: tc.access})
		must(t, err)
		if (len(o.Items) == 1) != tc.sees {
			t.Errorf("%s: %d offerings", name, len(o.Items))
		}
		must(t, f.SetPlanVisibility(t.Context(), planID("plan"), backstay.PublicPlan, nil, false, none))
	}

	// Whoever has an instance knows its plan, though they do not find it in the marketplace any more.
	f.plan = planID("other")
	f.mustHave(t, "db")
	must(t, f.RemovePlanOrganization(t.Context(), planID("other"), f.org.ID, none))
	f.wantVisibility(t, planID("other"), backstay.AdminPlan)
	wantError(t, f.RemovePlanOrganization(t.Context(), planID("other"), f.org.ID, none), backstay.NotFound,
		"Service plan visibility not found")
	for viewer, want := range map[backstay.UserID]int{member: 2, user: 1} {
		l, err := f.Plans(t.Context(), market.PlanFilter{Access: market.Access{Viewer: &viewer, Held: true}})
		must(t, err)
		if len(l.Items) != want {
			t.Errorf("%s knows %d plans, want %d", viewer, len(l.Items), want)
		}
	}
	wantError(
		t,
		f.SetPlanVisibility(t.Context(), planID("other"), backstay.OrganizationPlan, []backstay.OrganizationID{"absent"},
			true, none),
		backstay.Invalid,
		`Could not find Organizations with guids: ["absent"]`,
	)
	wantError(
		t, f.SetPlanVisibility(t.Context(), planID("absent"), backstay.PublicPlan, nil, true, none), backstay.NotFound,
		"Service plan not found",
	)
}

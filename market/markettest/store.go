package markettest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/uaa"
)

// RunStore checks that the stores that open returns keep the contract of [market.Store].
func RunStore(t *testing.T, open func(t testing.TB) market.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, f *fixture)
	}{
		{"NamesAreUnique", namesAreUnique},
		{"ListsHavePagesAndTotals", listsHavePagesAndTotals},
		{"AnInstanceIsAcceptedWithItsJob", anInstanceIsAcceptedWithItsJob},
		{"ACopyUsesItsConsentUp", aCopyUsesItsConsentUp},
		{"AReturnUsesItsConsentUp", aReturnUsesItsConsentUp},
		{"OneConsentGivesOneCopy", oneConsentGivesOneCopy},
		{"ATakenNameLeavesNoJob", aTakenNameLeavesNoJob},
		{"OneOperationAtATime", oneOperationAtATime},
		{"ANewNameHidesNothing", aNewNameHidesNothing},
		{"BoundInstancesAreInUse", boundInstancesAreInUse},
		{"BindingsAreUnique", bindingsAreUnique},
		{"BindingsStandBesideEachOther", bindingsStandBesideEachOther},
		{"AFailedBindingMakesWay", aFailedBindingMakesWay},
		{"BindingsExpireUnlessHeld", bindingsExpireUnlessHeld},
		{"OneWinnerOfManyCreates", oneWinnerOfManyCreates},
		{"SpacesWithContentAreInUse", spacesWithContentAreInUse},
		{"JobsAreAwaited", jobsAreAwaited},
		{"EnvironmentsChangeOneAtATime", environmentsChangeOneAtATime},
		{"WithdrawnPlansStayKnown", withdrawnPlansStayKnown},
		{"UserProvidedInstancesAreThereAtOnce", userProvidedInstancesAreThereAtOnce},
		{"ABindingKeepsTheCredentialsItGot", aBindingKeepsTheCredentialsItGot},
		{"BothKindsShareTheNames", bothKindsShareTheNames},
		{"ShareIsSeenAndBound", shareIsSeenAndBound},
		{"ASharedNameIsTaken", aSharedNameIsTaken},
		{"AShareEndsWithItsBindings", aShareEndsWithItsBindings},
		{"SharesAndCreatesRaceForAName", sharesAndCreatesRaceForAName},
		{"RemovalsAreRecordedOnce", removalsAreRecordedOnce},
		{"EventsAreFoundAndForgotten", eventsAreFoundAndForgotten},
		{"AJobRecordsItsCompletion", aJobRecordsItsCompletion},
		{"RefusalsAreBounded", refusalsAreBounded},
		{"TroublesBeginAndEndOnce", troublesBeginAndEndOnce},
		{"ThingsAreLocated", thingsAreLocated},
		{"UsageIsRecordedWithWhatItIsAbout", usageIsRecordedWithWhatItIsAbout},
		{"UsageFollowsPrices", usageFollowsPrices},
		{"UsageIsForgottenWhereItTellsNothing", usageIsForgottenWhereItTellsNothing},
		{"UsageIsReseeded", usageIsReseeded},
		{"UsageIsReadOnwardsWithoutGaps", usageIsReadOnwardsWithoutGaps},
		{"OrganizationsBeginWithTheDefaultQuota", organizationsBeginWithTheDefaultQuota},
		{"QuotasHaveNamesAndChange", quotasHaveNamesAndChange},
		{"QuotasAreApplied", quotasAreApplied},
		{"QuotasAreSeenByThoseWhoHaveThem", quotasAreSeenByThoseWhoHaveThem},
		{"QuotasLimitInstances", quotasLimitInstances},
		{"QuotasLimitKeys", quotasLimitKeys},
		{"QuotasForbidPaidPlans", quotasForbidPaidPlans},
		{"TheLastPlacesGoToAsManyInstances", theLastPlacesGoToAsManyInstances},
		{"TheLastPlacesGoToAsManyKeys", theLastPlacesGoToAsManyKeys},
		{"ACatalogIsOneBrokers", aCatalogIsOneBrokers},
		{"ACatalogIsKeptWhole", aCatalogIsKeptWhole},
		{"ABrokerIsChangedOnceAtATime", aBrokerIsChangedOnceAtATime},
		{"AMissingPlanIsWarnedOf", aMissingPlanIsWarnedOf},
		{"ABrokerGoesWithWhatItOffers", aBrokerGoesWithWhatItOffers},
		{"AJobIsFollowed", aJobIsFollowed},
		{"GuidsAreTheMarkets", guidsAreTheMarkets},
		{"PlansSwapNames", plansSwapNames},
		{"WhatACatalogChangesIsRecorded", whatACatalogChangesIsRecorded},
		{"APlanChangesWhenTheUpdateSucceeded", aPlanChangesWhenTheUpdateSucceeded},
		{"AFailedUpdateLeavesThePlan", aFailedUpdateLeavesThePlan},
		{"AnUpdateIsTakenWhole", anUpdateIsTakenWhole},
		{"WhatWasNotCreatedIsNotUpdated", whatWasNotCreatedIsNotUpdated},
		{"QuotasForbidChangesToPaidPlans", quotasForbidChangesToPaidPlans},
		{"ADashboardIsKept", aDashboardIsKept},
		{"WhatIsInForceIsRecorded", whatIsInForceIsRecorded},
		{"ARefreshIsTakenWhole", aRefreshIsTakenWhole},
		{"UnsettledInstancesAreFound", unsettledInstancesAreFound},
		{"ChangesAreSeenOnwards", changesAreSeenOnwards},
		{"PrivatePlansBeginHidden", privatePlansBeginHidden},
		{"PlansAreSeenWhereTheyAreEnabled", plansAreSeenWhereTheyAreEnabled},
		{"MetadataChangesByKey", metadataChangesByKey},
		{"MetadataHasLimits", metadataHasLimits},
		{"EveryResourceHasMetadata", everyResourceHasMetadata},
		{"SelectorsNarrow", selectorsNarrow},
		{"TimesNarrowToTheSecond", timesNarrowToTheSecond},
		{"APurgeTakesEverythingAlong", aPurgeTakesEverythingAlong},
		{"AnOfferingIsPurgedWithItsInstances", anOfferingIsPurgedWithItsInstances},
		{"ABindingOnItsWayOutIsInTheWay", aBindingOnItsWayOutIsInTheWay},
		{"JobsAreForgottenOnceTheyHaveEnded", jobsAreForgottenOnceTheyHaveEnded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, newFixture(t, open(t)))
		})
	}
}

// none is the event of tests that are not about events, inForce what a broker tells in those that are not about that.
var (
	none    backstay.Event
	inForce market.InForce
)

// unrecorded is the event of a change of a catalog in tests that are not about those.
func unrecorded(market.CatalogChange) backstay.Event { return none }

// fixture is a store with an organization, a space, an app and a plan.
type fixture struct {
	market.Store
	org   backstay.Organization
	space backstay.Space
	app   backstay.App
	plan  backstay.PlanID
}

func newFixture(t *testing.T, s market.Store) *fixture {
	t.Helper()
	f := &fixture{Store: s, plan: planID("plan")}
	must(t, s.KeepCatalog(t.Context(), Broker, catalog("plan", "other"), unrecorded))
	var err error
	f.org, err = s.AddOrganization(t.Context(), backstay.Organization{ID: "org", Name: "org"}, none)
	must(t, err)
	f.space, err = s.AddSpace(t.Context(), backstay.Space{ID: "space", OrganizationID: f.org.ID, Name: "space"}, none)
	must(t, err)
	f.app, err = s.AddApp(t.Context(), backstay.App{ID: "app", SpaceID: f.space.ID, Name: "app"}, none)
	must(t, err)
	return f
}

// named is an update of nothing but the name.
func named(name string) market.Update { return market.Update{Name: &name} }

// mustKnow adds users, who are the login server's to add: a store of both serves both.
func (f *fixture) mustKnow(t *testing.T, users ...backstay.UserID) {
	t.Helper()
	for _, id := range users {
		must(
			t,
			f.Store.(uaa.UserStore).AddUser(t.Context(), uaa.User{ID: id, Username: string(id), PasswordHash: "none"}, none),
		)
	}
}

// catalog has one offering with free plans of these names.
func catalog(plans ...string) []backstay.CatalogOffering {
	o := backstay.CatalogOffering{ID: backstay.ServiceID(offeringID), Name: "postgres", Tags: []string{"relational"}}
	for _, name := range plans {
		o.Plans = append(o.Plans, catalogPlan(name, true))
	}
	return []backstay.CatalogOffering{o}
}

func catalogPlan(name string, free bool) backstay.CatalogPlan {
	return backstay.CatalogPlan{ID: backstay.ServicePlanID(planID(name)), Name: name, Free: free}
}

// offeringID is the guid of the offering in [catalog].
const offeringID backstay.OfferingID = "00000000-0000-4000-8000-0000000000f0"

// planID is the guid of the plan of that name in [catalog].
func planID(name string) backstay.PlanID {
	return backstay.PlanID(uuid.NewSHA1(uuid.Nil, []byte(name)).String())
}

func (f *fixture) newInstance(name string) (backstay.Instance, backstay.Job) {
	in := backstay.Instance{
		ID: backstay.InstanceID(uuid.NewString()), SpaceID: f.space.ID, PlanID: f.plan, Name: name,
		Tags:          []string{"a"},
		LastOperation: operation(backstay.Create, backstay.InProgress),
	}
	return in, newJob(string(in.ID))
}

func (f *fixture) newBinding(
	in backstay.InstanceID, t backstay.BindingType, name string,
) (backstay.Binding, backstay.Job) {
	b := backstay.Binding{
		ID: backstay.BindingID(uuid.NewString()), Type: t, Name: name, InstanceID: in,
		LastOperation: operation(backstay.Create, backstay.InProgress),
	}
	if t == backstay.AppBinding {
		b.AppID = f.app.ID
	}
	return b, newJob(string(b.ID))
}

func newJob(resource string) backstay.Job {
	return backstay.Job{
		ID: backstay.JobID(uuid.NewString()), Operation: "test", Resource: resource, State: backstay.JobPolling,
	}
}

// complete is a job as it ends well.
func complete(j backstay.Job) backstay.Job {
	return backstay.Job{ID: j.ID, State: backstay.JobComplete}
}

func operation(t backstay.OperationType, s backstay.OperationState) backstay.Operation {
	return backstay.Operation{Type: t, State: s, Description: string(t) + " " + string(s)}
}

// mustHave adds an instance whose creation has succeeded.
func (f *fixture) mustHave(t *testing.T, name string) backstay.Instance {
	t.Helper()
	in, j := f.newInstance(name)
	must(t, f.AcceptInstance(t.Context(), in, nil, none, j))
	must(
		t,
		f.FinishInstance(t.Context(), in.ID, operation(backstay.Create, backstay.Succeeded), inForce, complete(j)),
	)
	return in
}

func namesAreUnique(t *testing.T, f *fixture) {
	_, err := f.AddOrganization(t.Context(), backstay.Organization{ID: "org2", Name: "org"}, none)
	wantError(t, err, backstay.Taken, "Organization 'org' already exists.")
	_, err = f.AddSpace(t.Context(), backstay.Space{ID: "space2", OrganizationID: f.org.ID, Name: "space"}, none)
	wantError(t, err, backstay.Taken, "Name must be unique per organization")
	_, err = f.AddApp(t.Context(), backstay.App{ID: "app2", SpaceID: f.space.ID, Name: "app"}, none)
	wantError(t, err, backstay.Taken, "App with the name 'app' already exists.")
	in := f.mustHave(t, "one")
	f.mustHave(t, "two")
	two := "two"
	_, err = f.UpdateInstance(t.Context(), in.ID, market.Update{Name: &two}, nil, none)
	wantError(t, err, backstay.Taken, "The service instance name is taken: two.")
	_, err = f.UpdateApp(t.Context(), "absent", market.Update{Name: &two}, none)
	wantError(t, err, backstay.NotFound, "App not found")
}

func listsHavePagesAndTotals(t *testing.T, f *fixture) {
	for _, name := range []string{"db-0", "DB-1", "db-2", "DB-3", "db-4"} {
		f.mustHave(t, name)
	}
	byName := market.Order{By: market.ByName, Descending: true}
	l, err := f.Instances(t.Context(), market.InstanceFilter{Order: byName, Page: market.Page{Number: 2, Size: 2}})
	must(t, err)
	if l.Total != 5 || len(l.Items) != 2 || l.Items[0].Name != "db-2" || l.Items[1].Name != "DB-1" {
		t.Errorf("page 2 of 5 by name, descending: %+v", l)
	}
	l, err = f.Instances(t.Context(), market.InstanceFilter{
		Names: []string{"DB-3", "db-4"}, PlanNames: []string{"plan"},
		OrganizationIDs: []backstay.OrganizationID{f.org.ID},
	})
	must(t, err)
	if l.Total != 2 {
		t.Errorf("filtered by name, plan and organization: %d; want 2", l.Total)
	}
	l, err = f.Instances(t.Context(), market.InstanceFilter{SpaceIDs: []backstay.SpaceID{}})
	must(t, err)
	if l.Total != 0 {
		t.Errorf("an empty filter matched %d; want 0", l.Total)
	}
}

func anInstanceIsAcceptedWithItsJob(t *testing.T, f *fixture) {
	in, j := f.newInstance("db")
	must(t, f.AcceptInstance(t.Context(), in, []byte("sealed"), none, j))
	kept, err := f.Job(t.Context(), j.ID)
	must(t, err)
	if kept.State != backstay.JobPolling || kept.Resource != string(in.ID) {
		t.Errorf("job %+v", kept)
	}
	sealed, copyOf, err := f.InstanceParameters(t.Context(), in.ID)
	must(t, err)
	if string(sealed) != "sealed" || copyOf != "" {
		t.Errorf("parameters %q, a copy of %q", sealed, copyOf)
	}
}

func aTakenNameLeavesNoJob(t *testing.T, f *fixture) {
	f.mustHave(t, "db")
	in, j := f.newInstance("db")
	wantError(t, f.AcceptInstance(t.Context(), in, nil, none, j), backstay.Taken,
		"The service instance name is taken: db.")
	_, err := f.Job(t.Context(), j.ID)
	wantError(t, err, backstay.NotFound, "Job not found")
}

func oneOperationAtATime(t *testing.T, f *fixture) {
	const sentence = "An operation for service instance db is in progress."
	in, j := f.newInstance("db")
	must(t, f.AcceptInstance(t.Context(), in, nil, none, j))
	name := "other"
	_, err := f.UpdateInstance(t.Context(), in.ID, market.Update{Name: &name}, nil, none)
	wantError(t, err, backstay.Busy, sentence)
	b, bj := f.newBinding(in.ID, backstay.AppBinding, "")
	wantError(t, f.AcceptBinding(t.Context(), b, 1, nil, none, bj), backstay.Busy, sentence)

	// A creation is ended by a deletion, and says nothing of the instance any more.
	end := func() error {
		op := operation(backstay.Delete, backstay.InProgress)
		return f.AcceptInstanceDeletion(t.Context(), in.ID, op, none, newJob("x"))
	}
	must(t, end())
	wantError(t, f.ReportInstance(t.Context(), in.ID, operation(backstay.Create, backstay.InProgress)), backstay.NotFound,
		"Service instance not found")
	j.State = backstay.JobComplete
	wantError(t, f.FinishInstance(t.Context(), in.ID, operation(backstay.Create, backstay.Succeeded), inForce, j),
		backstay.NotFound, "Service instance not found")
	must(t, f.ReportInstance(t.Context(), in.ID, operation(backstay.Delete, backstay.InProgress)))
	wantError(t, end(), backstay.Busy, sentence)
}

func aNewNameHidesNothing(t *testing.T, f *fixture) {
	in := f.mustHave(t, "serves")
	renamed := "renamed"
	in, err := f.UpdateInstance(t.Context(), in.ID, named(renamed), nil, none)
	must(t, err)
	if op, said := in.LastOperation, operation(backstay.Create, backstay.Succeeded); op.Type != backstay.Update ||
		op.State != backstay.Succeeded || op.Description != said.Description {
		t.Errorf("renamed: %+v; want what the broker said last", op)
	}
	in, j := f.newInstance("fails")
	must(t, f.AcceptInstance(t.Context(), in, nil, none, j))
	must(
		t,
		f.FinishInstance(t.Context(), in.ID, operation(backstay.Create, backstay.Failed), inForce,
			backstay.Job{ID: j.ID, State: backstay.JobFailed, Sentence: "No."}),
	)
	in, err = f.UpdateInstance(t.Context(), in.ID, market.Update{}, []string{"tag"}, none)
	must(t, err)
	if op := in.LastOperation; op.Type != backstay.Create || op.State != backstay.Failed || len(in.Tags) != 1 {
		t.Errorf("tagged: %v %+v; want the tag, and the failure", in.Tags, op)
	}
	b, bj := f.newBinding(in.ID, backstay.KeyBinding, "key")
	wantError(t, f.AcceptBinding(t.Context(), b, 1, nil, none, bj), backstay.Invalid,
		"The service instance fails cannot be bound: its creation failed. Delete it and create it again.")
}

func oneWinnerOfManyCreates(t *testing.T, f *fixture) {
	const racers = 20
	errs := make(chan error, racers)
	var start sync.WaitGroup
	start.Add(racers)
	for range racers {
		go func() {
			in, j := f.newInstance("db")
			start.Done()
			start.Wait()
			errs <- f.AcceptInstance(t.Context(), in, nil, none, j)
		}()
	}
	winners := 0
	for range racers {
		if err := <-errs; err == nil {
			winners++
		} else {
			wantError(t, err, backstay.Taken, "The service instance name is taken: db.")
		}
	}
	if winners != 1 {
		t.Errorf("%d creates of one name won; want 1", winners)
	}
}

func spacesWithContentAreInUse(t *testing.T, f *fixture) {
	wantError(t, f.RemoveSpace(t.Context(), f.space.ID, none), backstay.InUse,
		"The space still has apps or service instances.")
	wantError(t, f.FinishDeleteOrganization(t.Context(), f.org.ID, "job"), backstay.InUse,
		"The organization still has spaces.")
	must(t, f.RemoveApp(t.Context(), f.app.ID, none))
	must(t, f.RemoveSpace(t.Context(), f.space.ID, none))
	must(t, f.RemoveSpace(t.Context(), f.space.ID, none))
	must(t, f.FinishDeleteOrganization(t.Context(), f.org.ID, "job"))
}

func jobsAreAwaited(t *testing.T, f *fixture) {
	j := newJob("x")
	must(t, f.AcceptJob(t.Context(), none, j))
	go func() {
		time.Sleep(
			20 * time.Millisecond,
		) // the waiter below should be waiting by now; if not, the test holds all the same
		f.FinishJob(t.Context(), backstay.Job{
			ID: j.ID, State: backstay.JobFailed, Kind: backstay.Busy, Sentence: "busy",
		})
	}()
	began := time.Now()
	ended, err := f.AwaitJob(t.Context(), j.ID)
	must(t, err)
	if ended.State != backstay.JobFailed || ended.Kind != backstay.Busy || ended.Sentence != "busy" {
		t.Errorf("awaited job %+v", ended)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the end of a job was noticed after %v", d)
	}
}

func environmentsChangeOneAtATime(t *testing.T, f *fixture) {
	const writers = 8
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			err := f.UpdateEnvironment(t.Context(), f.app.ID,
				func(sealed []byte) ([]byte, error) { return append(sealed, 'x'), nil }, none)
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sealed, err := f.SealedEnvironment(t.Context(), f.app.ID)
	must(t, err)
	if len(sealed) != writers {
		t.Errorf("%d of %d changes are left", len(sealed), writers)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err error, kind backstay.Kind, sentence string) {
	t.Helper()
	if err == nil || backstay.KindOf(err) != kind || backstay.SentenceOf(err) != sentence {
		t.Errorf("error %v is %v; want %v: %s", err, backstay.KindOf(err), kind, sentence)
	}
}

package markettest

import (
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// registered is a broker that somebody has registered.
var registered = backstay.ServiceBroker{ID: "registered", Name: "registered", URL: "https://broker.example.org"}

func brokerJob(id backstay.JobID, of backstay.BrokerID) backstay.Job {
	return backstay.Job{ID: id, Operation: "service_broker.update", Resource: string(of), State: backstay.JobProcessing}
}

// aBrokerIsChangedOnceAtATime registers a broker, changes it, and refuses to do more meanwhile.
func aBrokerIsChangedOnceAtATime(t *testing.T, f *fixture) {
	ctx := t.Context()
	must(t, f.AcceptBroker(ctx, registered, []byte("sealed"), none, brokerJob("b1", registered.ID)))
	other := registered
	other.ID = "other"
	wantError(t, f.AcceptBroker(ctx, other, []byte("sealed"), none, brokerJob("b2", other.ID)), backstay.Taken,
		"Name must be unique")
	name, url := "renamed", "https://elsewhere.example.org"
	change := market.BrokerChange{Name: &name, URL: &url, Login: []byte("other")}
	wantError(t, f.AcceptBrokerChange(ctx, registered.ID, change, none, brokerJob("b3", registered.ID)), backstay.Invalid,
		"Cannot update a broker when other operation is already in progress")
	wantError(t, f.AcceptBrokerDeletion(ctx, registered.ID, brokerJob("b4", registered.ID)), backstay.Invalid,
		"Cannot delete a broker when other operation is already in progress")
	must(t, f.FinishBroker(ctx, registered.ID, catalog("theirs"), unrecorded, "b1"))
	f.wantOnSale(t, registered.ID, "theirs")

	must(t, f.AcceptBrokerChange(ctx, registered.ID, change, none, brokerJob("b5", registered.ID)))
	f.wantBroker(t, registered.Name, registered.URL, "sealed", true)
	must(t, f.FailBroker(ctx, registered.ID, backstay.Job{ID: "b5", State: backstay.JobFailed, Sentence: "no"}))
	f.wantBroker(t, registered.Name, registered.URL, "sealed", false)
	must(t, f.AcceptBrokerChange(ctx, registered.ID, change, none, brokerJob("b6", registered.ID)))
	must(t, f.FinishBroker(ctx, registered.ID, nil, unrecorded, "b6"))
	f.wantBroker(t, name, url, "other", false)
	f.wantOnSale(t, registered.ID, "theirs")
	taken := Broker.Name
	wantError(t, f.AcceptBrokerChange(ctx, registered.ID, market.BrokerChange{Name: &taken}, none,
		brokerJob("b7", registered.ID)), backstay.Taken, "Name must be unique")
}

func (f *fixture) wantBroker(t *testing.T, name, url, login string, changing bool) {
	t.Helper()
	l, err := f.ServiceBrokers(t.Context(), market.BrokerFilter{IDs: []backstay.BrokerID{registered.ID}})
	must(t, err)
	sealed, change, err := f.BrokerSecrets(t.Context(), registered.ID)
	must(t, err)
	if b := l.Items[0]; b.Name != name || b.URL != url || string(sealed) != login || (change != nil) != changing {
		t.Errorf("it is %+v with login %s, changing: %v", b, sealed, change != nil)
	}
}

// aMissingPlanIsWarnedOf for as long as instances have it, by each job that reads the catalog without it.
func aMissingPlanIsWarnedOf(t *testing.T, f *fixture) {
	ctx := t.Context()
	read := func(id backstay.JobID, offerings []backstay.CatalogOffering) []string {
		t.Helper()
		j := brokerJob(id, registered.ID)
		if id == "b1" {
			must(t, f.AcceptBroker(ctx, registered, []byte("sealed"), none, j))
		} else {
			must(t, f.AcceptBrokerChange(ctx, registered.ID, market.BrokerChange{}, none, j))
		}
		must(t, f.FinishBroker(ctx, registered.ID, offerings, unrecorded, id))
		done, err := f.Job(ctx, id)
		must(t, err)
		return done.Warnings
	}
	if warned := read("b1", catalog("theirs")); len(warned) > 0 {
		t.Errorf("a new broker is warned of: %q", warned)
	}
	plans, err := f.Plans(ctx, market.PlanFilter{BrokerIDs: []backstay.BrokerID{registered.ID}})
	must(t, err)
	in, j := f.newInstance("db")
	in.PlanID = plans.Items[0].ID
	must(t, f.AcceptInstance(ctx, in, nil, none, j))
	for _, id := range []backstay.JobID{"b2", "b3"} {
		warned := read(id, catalog("others"))
		if len(warned) != 1 || !strings.Contains(warned[0], "(https://broker.example.org/v2/catalog)") ||
			!strings.HasSuffix(warned[0], "\nService Offering: postgres\nPlans deactivated: theirs\n") {
			t.Errorf("it is warned of %q", warned)
		}
	}
	if warned := read("b4", catalog("theirs")); len(warned) > 0 {
		t.Errorf("with the plan back it is warned of %q", warned)
	}
}

// aBrokerGoesWithWhatItOffers removes a broker once there is no instance of it, and what it offers no more before.
func aBrokerGoesWithWhatItOffers(t *testing.T, f *fixture) {
	ctx := t.Context()
	own := registered
	own.SpaceID = f.space.ID
	must(t, f.AcceptBroker(ctx, own, []byte("sealed"), none, brokerJob("b1", own.ID)))
	theirs := catalog("theirs", "more")
	theirs[0].Private = true
	must(t, f.FinishBroker(ctx, own.ID, theirs, unrecorded, "b1"))
	plans, err := f.Plans(ctx, market.PlanFilter{BrokerIDs: []backstay.BrokerID{own.ID}})
	must(t, err)
	p := plans.Items[0]
	if p.Visibility != backstay.SpacePlan || p.SpaceID != f.space.ID {
		t.Errorf("the plan is %+v", p)
	}
	for access, want := range map[string]int{"space": 2, "elsewhere": 0} {
		l, err := f.Plans(ctx, market.PlanFilter{
			BrokerIDs: []backstay.BrokerID{own.ID},
			Access:    market.Access{SpaceIDs: []backstay.SpaceID{backstay.SpaceID(access)}},
		})
		if err != nil || len(l.Items) != want {
			t.Errorf("in %s there are %d plans, %v", access, len(l.Items), err)
		}
	}
	in := backstay.Instance{ID: "held", Type: backstay.Managed, SpaceID: f.space.ID, PlanID: p.ID, Name: "held",
		LastOperation: operation(backstay.Create, backstay.InProgress)}
	must(t, f.AcceptInstance(ctx, in, nil, none, backstay.Job{
		ID: "create", Operation: "service_instance.create", Resource: "held", State: backstay.JobPolling,
	}))
	wantError(t, f.AcceptBrokerDeletion(ctx, own.ID, brokerJob("b2", own.ID)), backstay.InUse,
		"Can not remove brokers that have associated service instances: registered")
	must(t, f.RemoveInstance(ctx, in.ID, none, nil))
	wantError(t, f.RemoveSpace(ctx, f.space.ID, none), backstay.InUse, "The space still has apps or service instances.")
	gone := 0
	must(t, f.RemoveBroker(ctx, own.ID, func(c market.CatalogChange) backstay.Event {
		if c.Plan == nil && c.Offering == nil {
			gone++
		}
		return none
	}, none, nil))
	must(t, f.RemoveBroker(ctx, own.ID, unrecorded, none, nil))
	if gone != 3 {
		t.Errorf("%d things went with it", gone)
	}
}

// aJobIsFollowed ends a job, in the moment of which another one is accepted that knows what it is about.
func aJobIsFollowed(t *testing.T, f *fixture) {
	ctx := t.Context()
	j := backstay.Job{ID: "first", Operation: "space.delete", Resource: "x", State: backstay.JobPolling,
		About: []byte(`{"a": 1}`)}
	must(t, f.AcceptJob(ctx, none, j))
	must(t, f.NoteAsked(ctx, j.ID))
	kept, err := f.Job(ctx, j.ID)
	if must(t, err); !kept.Asked || string(kept.About) != `{"a": 1}` {
		t.Errorf("it is %+v", kept)
	}
	next := backstay.Job{ID: "second", Operation: "space.delete", Resource: "y", State: backstay.JobPolling,
		About: kept.About, Tireless: true}
	must(t, f.FinishJob(ctx, backstay.Job{ID: j.ID, State: backstay.JobFailed, Sentence: "no", Next: &next}))
	kept, err = f.Job(ctx, next.ID)
	if must(t, err); kept.Asked || string(kept.About) != `{"a": 1}` || kept.State != backstay.JobPolling {
		t.Errorf("what follows is %+v", kept)
	}
}

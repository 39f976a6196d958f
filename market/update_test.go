package market_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// newUpdateableFloor is a floor before a broker whose instances can be updated.
func newUpdateableFloor(t *testing.T) *floor {
	b := newListener()
	b.Updateable = true
	return newFloorOf(t, markettest.NewWith(t, b), b)
}

// update asks for a change, and waits for the end of its job.
func (f *floor) update(t *testing.T, id backstay.InstanceID, u market.InstanceUpdate) backstay.Job {
	t.Helper()
	_, j, err := f.UpdateInstance(t.Context(), markettest.Admin, id, u)
	must(t, err)
	if j.ID == "" {
		t.Fatal("the broker was not asked")
	}
	j, err = f.AwaitJob(t.Context(), j.ID, time.Minute)
	must(t, err)
	return j
}

// wantInstance checks what an instance is: in the market, and at the broker.
func (f *floor) wantInstance(t *testing.T, id backstay.InstanceID, plan, parameters, operation string) {
	t.Helper()
	in, err := f.Instance(t.Context(), markettest.Admin, id)
	must(t, err)
	p, err := f.Plan(t.Context(), markettest.Admin, in.PlanID)
	must(t, err)
	if op := string(in.LastOperation.Type) + " " + string(in.LastOperation.State); p.Name != plan || op != operation {
		t.Errorf("it is %s of %s; want %s of %s", op, p.Name, operation, plan)
	}
	atBroker, err := f.broker.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: id})
	must(t, err)
	if atBroker.PlanID != p.ServicePlanID || string(atBroker.Parameters) != parameters {
		t.Errorf(
			"the broker has plan %s with %s; want %s with %s", atBroker.PlanID, atBroker.Parameters, p.ServicePlanID,
			parameters,
		)
	}
}

func (f *floor) planNamed(t *testing.T, name string) *backstay.PlanID {
	t.Helper()
	plans, err := f.Plans(t.Context(), markettest.Admin, market.PlanFilter{Names: []string{name}})
	must(t, err)
	return &plans.Items[0].ID
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	f.allowPaidPlans(t)
	in := f.create(t, "db")
	name, pgcrypto := "renamed", json.RawMessage(`{"enable_extensions":["pgcrypto"]}`)
	j := f.update(t, in, market.InstanceUpdate{
		Update: market.Update{Name: &name}, PlanID: f.planNamed(t, "M-dedicated-15"), Parameters: pgcrypto,
	})
	if j.State != backstay.JobComplete {
		t.Fatalf("the update ended as %s: %s", j.State, j.Sentence)
	}
	f.wantInstance(t, in, "M-dedicated-15", string(pgcrypto), "update succeeded")
	f.wantEvents(t, in, "create", "start_update", "update")

	j = f.update(t, in, market.InstanceUpdate{
		PlanID: f.planNamed(t, "Free"), Parameters: json.RawMessage(`{"enable_extensions":["missing"]}`),
	})
	if j.State != backstay.JobFailed || j.Sentence != "The extension 'missing' is not installed." {
		t.Errorf("an update that cannot be ended as %s: %s", j.State, j.Sentence)
	}
	f.wantInstance(t, in, "M-dedicated-15", string(pgcrypto), "update failed")
	f.wantEvents(t, in, "create", "start_update", "update", "start_update")
	f.bind(t, in, f.apps[0].ID) // it serves on
}

// wantEvents checks the audit events of an instance that begin with its creation.
func (f *floor) wantEvents(t *testing.T, id backstay.InstanceID, verbs ...string) {
	t.Helper()
	l, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{TargetIDs: []string{string(id)}})
	must(t, err)
	var got []string
	for _, e := range l.Items {
		got = append(got, strings.TrimPrefix(e.Type, "audit.service_instance."))
	}
	if want := "start_create " + strings.Join(verbs, " "); strings.Join(got, " ") != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func (f *floor) allowPaidPlans(t *testing.T) {
	t.Helper()
	yes := true
	_, err := f.UpdateQuota(
		t.Context(), markettest.Admin, false, backstay.DefaultQuota, market.QuotaUpdate{PaidPlans: &yes},
	)
	must(t, err)
}

// TestUpdateIsRefused asks for what the market need not ask the broker about, or what it refuses at once.
func TestUpdateIsRefused(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	in := f.create(t, "db")
	version := func(v string) *string { return &v }
	foreign := backstay.PlanID("00000000-0000-4000-8000-0000000000f9")
	for _, c := range []struct {
		name string
		u    market.InstanceUpdate
		kind backstay.Kind
		said string
	}{
		{"a plan that is not there", market.InstanceUpdate{PlanID: &foreign}, backstay.Invalid,
			"Invalid service plan. Ensure that the service plan exists, is available, and you have access to it. " +
				"An administrator gives access."},
		{"a paid plan", market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15")}, backstay.Invalid,
			"The service instance cannot be updated because paid service plans are not allowed. " +
				"Ask an administrator for another quota of the organization."},
		{"a parameter that is not known", market.InstanceUpdate{Parameters: []byte(`{"size": 1}`)}, backstay.Invalid,
			"Unknown parameter: size."},
		{"no object", market.InstanceUpdate{Parameters: []byte(`[]`)}, backstay.Invalid, "Parameters must be a JSON object"},
		{"another version", market.InstanceUpdate{MaintenanceVersion: version("1.0.0")}, backstay.Invalid,
			"maintenance_info.version requested is invalid. Please ensure the catalog is up to date and you are providing " +
				"a version supported by this service plan."},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, in, c.u)
			if backstay.KindOf(err) != c.kind || backstay.SentenceOf(err) != c.said {
				t.Errorf("got %v", err)
			}
			f.wantInstance(t, in, "Free", "", "create succeeded")
		})
	}
	for _, u := range []market.InstanceUpdate{
		{PlanID: f.planNamed(t, "Free")}, {MaintenanceVersion: version("15.1.0")}, {Tags: []string{"a"}},
	} {
		if _, j, err := f.UpdateInstance(t.Context(), markettest.Admin, in, u); err != nil || j.ID != "" {
			t.Errorf("%+v: the broker was asked (%q), or %v", u, j.ID, err)
		}
	}
}

// TestUpdateOfWhatWasNotCreated is refused by what the market knows, whatever the broker would say of an instance that
// it may have taken back.
func TestUpdateOfWhatWasNotCreated(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	j, err := f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{Name: "db", SpaceID: f.spaces[0].ID,
		PlanID: *f.planNamed(t, "Free"), Parameters: json.RawMessage(`{"enable_extensions":["missing"]}`)})
	must(t, err)
	ended, err := f.AwaitJob(t.Context(), j.ID, time.Minute)
	must(t, err)
	if ended.State != backstay.JobFailed {
		t.Fatalf("the creation ended as %s", ended.State)
	}
	_, _, err = f.UpdateInstance(t.Context(), markettest.Admin, backstay.InstanceID(j.Resource),
		market.InstanceUpdate{Parameters: json.RawMessage(`{"size":1}`)})
	const want = "The service instance db cannot be updated: its creation failed. Delete it and create it again."
	if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestUpgrade goes to a version of the plan that the instance does not have.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	f.allowPaidPlans(t)
	f.broker.Updateable = false
	must(t, f.KeepCatalog(t.Context(), markettest.Broker))
	in := f.create(t, "db") // before there were versions
	f.broker.Updateable = true
	must(t, f.KeepCatalog(t.Context(), markettest.Broker))
	version := "15.1.0"
	if j := f.update(t, in, market.InstanceUpdate{MaintenanceVersion: &version}); j.State != backstay.JobComplete {
		t.Fatalf("the upgrade ended as %s: %s", j.State, j.Sentence)
	}
	got, err := f.Instance(t.Context(), markettest.Admin, in)
	must(t, err)
	if got.MaintenanceInfo == nil || got.MaintenanceInfo.Version != version {
		t.Errorf("its version is %+v", got.MaintenanceInfo)
	}
	both := market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15"), MaintenanceVersion: &version}
	if j := f.update(t, in, both); j.State != backstay.JobComplete { // it has that version already
		t.Errorf("the change of plan ended as %s: %s", j.State, j.Sentence)
	}
	older := "15.0.0"
	both = market.InstanceUpdate{PlanID: f.planNamed(t, "Free"), MaintenanceVersion: &older}
	_, _, err = f.UpdateInstance(t.Context(), markettest.Admin, in, both)
	wantSentence(t, err, "maintenance_info should not be changed when switching to different plan.")
}

// TestWithdrawnPlansAreLeft changes instances whose plan is not on sale any more: to another plan, and nothing else.
func TestWithdrawnPlansAreLeft(t *testing.T) {
	t.Parallel()
	b := &selling{listener: newListener(), change: func(*backstay.CatalogOffering) {}}
	b.Updateable = true
	f := newFloorOf(t, markettest.NewWith(t, b), b.listener)
	f.allowPaidPlans(t)
	in, free, medium, name := f.create(t, "db"), f.planNamed(t, "Free"), f.planNamed(t, "M-dedicated-15"), "renamed"
	b.change = func(o *backstay.CatalogOffering) { o.Plans = o.Plans[:1] }
	must(t, f.KeepCatalog(t.Context(), markettest.Broker))
	_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, in, market.InstanceUpdate{Parameters: []byte(`{}`)})
	wantSentence(t, err, "Cannot update parameters of a service instance that belongs to inaccessible plan")
	_, _, err = f.UpdateInstance(t.Context(), markettest.Admin, in,
		market.InstanceUpdate{Update: market.Update{Name: &name}})
	must(t, err)
	f.update(t, in, market.InstanceUpdate{PlanID: medium})
	f.wantInstance(t, in, "M-dedicated-15", "", "update succeeded")
	_, _, err = f.UpdateInstance(t.Context(), markettest.Admin, in, market.InstanceUpdate{PlanID: free})
	wantSentence(t, err,
		"Invalid service plan. Ensure that the service plan exists, is available, and you have access to it. "+
			"An administrator gives access.")
}

// TestBorrowersChangeNothing shares an instance with a space whose developer then asks for another plan.
func TestBorrowersChangeNothing(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	f.allowPaidPlans(t)
	in := f.create(t, "db")
	must(t, f.ShareInstance(t.Context(), markettest.Admin, in, []backstay.SpaceID{f.spaces[1].ID}))
	guest := f.developer(t, f.spaces[1])
	change := market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15")}
	_, _, err := f.UpdateInstance(t.Context(), guest, in, change)
	if backstay.KindOf(err) != backstay.Forbidden {
		t.Errorf("a borrower changes the plan: %v", err)
	}
	_, err = f.InstanceParameters(t.Context(), guest, in)
	if backstay.KindOf(err) != backstay.Forbidden {
		t.Errorf("a borrower reads parameters: %v", err)
	}
	if _, err := f.Instance(t.Context(), guest, in); err != nil {
		t.Errorf("it is not lent: %v", err)
	}
	f.wantInstance(t, in, "Free", "", "create succeeded")
}

// developer is the client, as a developer of a space.
func (f *floor) developer(t *testing.T, s backstay.Space) backstay.Actor {
	t.Helper()
	for _, r := range []market.NewRole{
		{Type: "organization_user", OrganizationID: s.OrganizationID}, {Type: "space_developer", SpaceID: s.ID},
	} {
		r.UserID = markettest.Robot.UserID
		_, err := f.CreateRole(t.Context(), markettest.Admin, r)
		must(t, err)
	}
	return markettest.Robot
}

// TestOneChangeAtATime asks for a change, and for the parameters, while the broker has not answered.
func TestOneChangeAtATime(t *testing.T) {
	t.Parallel()
	b := &slow{listener: newListener(), gate: make(chan struct{})}
	b.Updateable = true
	f := newFloorOf(t, markettest.NewWith(t, b), b.listener)
	in := f.create(t, "db")
	_, j, err := f.UpdateInstance(t.Context(), markettest.Admin, in, market.InstanceUpdate{Parameters: []byte(`{}`)})
	must(t, err)
	version := "15.1.0"
	for name, ask := range map[string]func() error{
		"parameters": func() error {
			_, err := f.InstanceParameters(t.Context(), markettest.Admin, in)
			return err
		},
		"a plan that is not allowed": func() error {
			_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, in,
				market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15")})
			return err
		},
		"an upgrade": func() error {
			_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, in,
				market.InstanceUpdate{MaintenanceVersion: &version})
			return err
		},
	} {
		if err := ask(); backstay.KindOf(err) != backstay.Busy ||
			backstay.SentenceOf(err) != "An operation for service instance db is in progress." {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(b.gate)
	f.do(t, j, nil)
}

// slow is a broker whose updates wait for a gate.
type slow struct {
	*listener
	gate chan struct{}
}

func (s *slow) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	<-s.gate
	return s.listener.Update(ctx, r)
}

// selling is a broker with a catalog of its own.
type selling struct {
	*listener
	change func(*backstay.CatalogOffering)
}

func (s *selling) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	offerings, err := s.listener.Catalog(ctx)
	s.change(&offerings[0])
	return offerings, err
}

// TestPlansWithoutBindings are neither bound to, nor changed to while there are bindings.
func TestPlansWithoutBindings(t *testing.T) {
	t.Parallel()
	b := &selling{newListener(), func(o *backstay.CatalogOffering) {
		no := false
		o.Plans[0].Bindable, o.Plans[0].Free = &no, true // M-dedicated-15
	}}
	b.Updateable = true
	f := newFloorOf(t, markettest.NewWith(t, b), b.listener)
	in := f.create(t, "db")
	key := market.NewBinding{Type: backstay.KeyBinding, Name: "key", InstanceID: in}
	binding, j, err := f.CreateBinding(t.Context(), markettest.Admin, key)
	must(t, err)
	f.do(t, j, nil)
	unbindable := market.InstanceUpdate{PlanID: f.planNamed(t, "M-dedicated-15")}
	_, _, err = f.UpdateInstance(t.Context(), markettest.Admin, in, unbindable)
	wantSentence(t, err, "The service plan is invalid: cannot switch to non-bindable plan when service bindings exist")
	j, err = f.DeleteBinding(t.Context(), markettest.Admin, binding.ID)
	f.do(t, j, err)
	if j = f.update(t, in, unbindable); j.State != backstay.JobComplete {
		t.Fatalf("the update ended as %s: %s", j.State, j.Sentence)
	}
	_, _, err = f.CreateBinding(t.Context(), markettest.Admin, key)
	wantSentence(t, err, "Service plan does not allow bindings.")
}

func wantSentence(t *testing.T, err error, sentence string) {
	t.Helper()
	if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) != sentence {
		t.Errorf("got %v; want %q", err, sentence)
	}
}

// TestBrokerHearsOfNames where its catalog says that it wants to.
func TestBrokerHearsOfNames(t *testing.T) {
	t.Parallel()
	b := &selling{newListener(), func(o *backstay.CatalogOffering) { o.AllowContextUpdates = true }}
	f := newFloorOf(t, markettest.NewWith(t, b), b.listener)
	in, name := f.create(t, "db"), "renamed"
	if j := f.update(t, in, market.InstanceUpdate{Update: market.Update{Name: &name}}); j.State != backstay.JobComplete {
		t.Fatalf("the update ended as %s: %s", j.State, j.Sentence)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.named[in] != name {
		t.Errorf("the broker heard of %q; want %q", b.named[in], name)
	}
}

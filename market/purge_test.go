package market_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// sluggish is a broker that holds instances back until the gate is closed, and refuses the first purges.
type sluggish struct {
	*brokertest.Memory
	gate     chan struct{}
	asked    chan struct{} // closed when it was asked for an instance
	refusals atomic.Int32
}

func (b *sluggish) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	close(b.asked)
	<-b.gate
	return b.Memory.Provision(ctx, r)
}

func (b *sluggish) Purge(ctx context.Context, id backstay.InstanceID) error {
	if b.refusals.Add(-1) >= 0 {
		return backstay.Errorf(backstay.Unavailable, "Not now.")
	}
	return b.Memory.Purge(ctx, id)
}

// TestNothingIsLeftOfAPurge purges an instance before the broker has heard of it: the job that tells it comes
// after the purge.
func TestNothingIsLeftOfAPurge(t *testing.T) {
	t.Parallel()
	b := &sluggish{Memory: brokertest.NewMemory(), gate: make(chan struct{}), asked: make(chan struct{})}
	b.refusals.Store(2)
	m := markettest.NewWith(t, b)
	o, err := m.CreateOrganization(t.Context(), markettest.Admin, market.NewOrganization{Name: "org"})
	must(t, err)
	s, err := m.CreateSpace(t.Context(), markettest.Admin, o.ID, "space", noMetadata)
	must(t, err)
	db := market.NewInstance{Name: "db", SpaceID: s.ID, PlanID: freePlan(t, m)}
	j, err := m.CreateInstance(t.Context(), markettest.Admin, db)
	must(t, err)
	id := backstay.InstanceID(j.Resource)
	<-b.asked
	purge, err := m.PurgeInstance(t.Context(), markettest.Admin, id)
	must(t, err)
	if purge, err = m.AwaitJob(t.Context(), purge.ID, time.Minute); err != nil || purge.State != backstay.JobComplete {
		t.Fatalf("the purge is %s, %v", purge.State, err)
	}
	if b.refusals.Load() >= 0 {
		t.Error("the broker was not asked again")
	}
	close(b.gate)
	j, err = m.AwaitJob(t.Context(), j.ID, time.Minute)
	if err != nil || j.State != backstay.JobFailed {
		t.Errorf("the create ends as %s, %v", j.State, err)
	}
	_, err = b.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: id})
	if backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("the broker still has it: %v", err)
	}
}

// TestAPurgeIsNotGivenUp has the broker refuse the purge of an instance again and again, and again when the job that
// told of the instance ends after the purge.
func TestAPurgeIsNotGivenUp(t *testing.T) {
	t.Parallel()
	b := &sluggish{Memory: brokertest.NewMemory(), gate: make(chan struct{}), asked: make(chan struct{})}
	close(b.gate)
	m := &market.Market{
		Store: markettest.OpenStore(t), Brokers: market.Brokers{markettest.Broker.ID: b}, Key: seal.Key{1},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	must(t, m.KeepCatalog(t.Context(), markettest.Broker))
	o, err := m.CreateOrganization(t.Context(), markettest.Admin, market.NewOrganization{Name: "org"})
	must(t, err)
	s, err := m.CreateSpace(t.Context(), markettest.Admin, o.ID, "space", noMetadata)
	must(t, err)
	db := market.NewInstance{Name: "db", SpaceID: s.ID, PlanID: freePlan(t, m)}
	create, err := m.CreateInstance(t.Context(), markettest.Admin, db)
	must(t, err)
	id := backstay.InstanceID(create.Resource)
	purge, err := m.PurgeInstance(t.Context(), markettest.Admin, id)
	must(t, err)
	if !purge.Tireless || create.Tireless {
		t.Error("a purge is tried as often as anything else")
	}
	must(t, m.Work(t.Context(), purge.ID, false)) // before the broker has heard of the instance
	b.refusals.Store(1)
	must(t, m.Work(t.Context(), create.ID, true)) // for the last time
	pending, err := m.Store.Pending(t.Context(), "service_instance.purge", string(id))
	must(t, err)
	if ended, err := m.Store.Job(t.Context(), create.ID); err != nil || ended.State != backstay.JobFailed || !pending {
		t.Errorf("the create is %s, %v; that the broker is told of the purge is owed: %t", ended.State, err, pending)
	}
}

func freePlan(t *testing.T, m *market.Market) backstay.PlanID {
	t.Helper()
	plans, err := m.Plans(t.Context(), markettest.Admin, market.PlanFilter{Names: []string{"Free"}})
	must(t, err)
	return plans.Items[0].ID
}

// forgetful is a broker that is no Purger.
type forgetful struct{ backstay.Broker }

// TestAForeignBrokerIsLeftAlone, as Cloud Foundry does it.
func TestAForeignBrokerIsLeftAlone(t *testing.T) {
	t.Parallel()
	memory := brokertest.NewMemory()
	m := markettest.NewWith(t, forgetful{memory})
	o, err := m.CreateOrganization(t.Context(), markettest.Admin, market.NewOrganization{Name: "org"})
	must(t, err)
	s, err := m.CreateSpace(t.Context(), markettest.Admin, o.ID, "space", noMetadata)
	must(t, err)
	db := market.NewInstance{Name: "db", SpaceID: s.ID, PlanID: freePlan(t, m)}
	j, err := m.CreateInstance(t.Context(), markettest.Admin, db)
	must(t, err)
	if j, err = m.AwaitJob(t.Context(), j.ID, time.Minute); err != nil || j.State != backstay.JobComplete {
		t.Fatalf("created: %s, %v", j.State, err)
	}
	_, err = m.PurgeInstance(t.Context(), markettest.Admin, backstay.InstanceID(j.Resource))
	must(t, err)
	if l, err := m.Instances(t.Context(), markettest.Admin, market.InstanceFilter{}); err != nil || len(l.Items) != 0 {
		t.Errorf("the market has %v, %v", l.Items, err)
	}
	asked := backstay.LastOperationRequest{InstanceID: backstay.InstanceID(j.Resource)}
	if _, err = memory.LastOperation(t.Context(), asked); err != nil {
		t.Errorf("the broker was told: %v", err)
	}
}

// TestWhatIsBeingDeletedIsNotTaken: "already exists" would be a lie a moment later.
func TestWhatIsBeingDeletedIsNotTaken(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	in := f.create(t, "db")
	f.broker.gate = make(chan struct{})
	held := market.NewBinding{Type: backstay.AppBinding, InstanceID: in, AppID: f.apps[0].ID}
	_, _, err := f.CreateBinding(t.Context(), markettest.Admin, held)
	must(t, err)
	var jobs []backstay.Job
	accepted := func(j backstay.Job, err error) {
		must(t, err)
		jobs = append(jobs, j)
	}
	space, organization := f.spaces[0], f.spaces[0].OrganizationID
	accepted(f.DeleteApp(t.Context(), markettest.Admin, f.apps[0].ID))
	accepted(f.DeleteSpace(t.Context(), markettest.Admin, space.ID))
	accepted(f.DeleteOrganization(t.Context(), markettest.Admin, organization))
	_, app := f.CreateApp(t.Context(), markettest.Admin, space.ID, f.apps[0].Name, noMetadata)
	_, again := f.CreateSpace(t.Context(), markettest.Admin, organization, space.Name, noMetadata)
	_, other := f.CreateOrganization(t.Context(), markettest.Admin, market.NewOrganization{Name: "owner"})
	for what, err := range map[string]error{"App": app, "Space": again, "Organization": other} {
		said := backstay.SentenceOf(err)
		if backstay.KindOf(err) != backstay.Busy || !strings.HasPrefix(said, what+" owner is being deleted.") {
			t.Errorf("%s: %v", what, err)
		}
	}
	close(f.broker.gate)
	for _, j := range jobs {
		if _, err := f.AwaitJob(t.Context(), j.ID, time.Minute); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

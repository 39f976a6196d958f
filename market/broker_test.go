package market_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

var noMetadata backstay.MetadataUpdate

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// listener is a broker that remembers which instances it was told of, and which bindings it has.
type listener struct {
	*brokertest.Memory
	mu    sync.Mutex
	told  map[backstay.InstanceID]bool
	bound map[backstay.BindingID]bool
	named map[backstay.InstanceID]string // as the last update called it
	gate  chan struct{}                  // what a bind waits for, if there is one
}

func (l *listener) hear(id backstay.InstanceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[id] = true
}

func (l *listener) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	l.hear(r.InstanceID)
	return l.Memory.Provision(ctx, r)
}

func (l *listener) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	l.hear(r.InstanceID)
	l.mu.Lock()
	l.named[r.InstanceID] = r.Context.InstanceName
	l.mu.Unlock()
	return l.Memory.Update(ctx, r)
}

func (l *listener) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	l.hear(r.InstanceID)
	return l.Memory.Deprovision(ctx, r)
}

func (l *listener) LastOperation(ctx context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	l.hear(r.InstanceID)
	return l.Memory.LastOperation(ctx, r)
}

func (l *listener) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	l.hear(r.InstanceID)
	if l.gate != nil {
		<-l.gate
	}
	answer, err := l.Memory.Bind(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound[r.BindingID] = err == nil
	return answer, err
}

func (l *listener) Unbind(ctx context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	l.hear(r.InstanceID)
	answer, err := l.Memory.Unbind(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound[r.BindingID] = err != nil
	return answer, err
}

func (l *listener) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	l.hear(r.InstanceID)
	return l.Memory.FetchInstance(ctx, r)
}

func newListener() *listener {
	return &listener{
		Memory: brokertest.NewMemory(), told: map[backstay.InstanceID]bool{}, bound: map[backstay.BindingID]bool{},
		named: map[backstay.InstanceID]string{},
	}
}

// floor is a market with two organizations that have a space and an app each.
type floor struct {
	*market.Market
	broker *listener
	spaces [2]backstay.Space
	apps   [2]backstay.App
}

func newFloor(t *testing.T) *floor {
	b := newListener()
	return newFloorOf(t, markettest.NewWith(t, b), b)
}

func newFloorOf(t *testing.T, m *market.Market, b *listener) *floor {
	f := &floor{Market: m, broker: b}
	for i, name := range []string{"owner", "guest"} {
		o, err := f.CreateOrganization(t.Context(), markettest.Admin, market.NewOrganization{Name: name})
		must(t, err)
		f.spaces[i], err = f.CreateSpace(t.Context(), markettest.Admin, o.ID, name, noMetadata)
		must(t, err)
		f.apps[i], err = f.CreateApp(t.Context(), markettest.Admin, f.spaces[i].ID, name, noMetadata)
		must(t, err)
	}
	return f
}

// do waits for a job, and returns what it was about.
func (f *floor) do(t *testing.T, j backstay.Job, err error) string {
	t.Helper()
	must(t, err)
	j, err = f.AwaitJob(t.Context(), j.ID, time.Minute)
	must(t, err)
	if j.State != backstay.JobComplete {
		t.Fatalf("job %s is %s: %s", j.Operation, j.State, j.Sentence)
	}
	return j.Resource
}

func (f *floor) create(t *testing.T, name string) backstay.InstanceID {
	t.Helper()
	return f.createFrom(t, markettest.Broker, name)
}

func (f *floor) createFrom(t *testing.T, from backstay.ServiceBroker, name string) backstay.InstanceID {
	t.Helper()
	plans, err := f.Plans(t.Context(), markettest.Admin, market.PlanFilter{
		Names: []string{"Free"}, BrokerIDs: []backstay.BrokerID{from.ID},
	})
	must(t, err)
	j, err := f.CreateInstance(
		t.Context(), markettest.Admin,
		market.NewInstance{Name: name, SpaceID: f.spaces[0].ID, PlanID: plans.Items[0].ID},
	)
	return backstay.InstanceID(f.do(t, j, err))
}

func (f *floor) bind(t *testing.T, in backstay.InstanceID, app backstay.AppID) backstay.BindingID {
	t.Helper()
	b, j, err := f.CreateBinding(
		t.Context(), markettest.Admin, market.NewBinding{Type: backstay.AppBinding, InstanceID: in, AppID: app},
	)
	must(t, err)
	if j.ID != "" {
		f.do(t, j, nil)
	}
	return b.ID
}

// TestBrokerNeverHearsOfUserProvided takes user-provided instances through all that can happen to them.
func TestBrokerNeverHearsOfUserProvided(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	provide := func(name string) backstay.InstanceID {
		in, err := f.CreateUserProvided(
			t.Context(), markettest.Admin, market.NewUserProvided{Name: name, SpaceID: f.spaces[0].ID},
		)
		must(t, err)
		return in.ID
	}
	ended, kept := provide("ended"), provide("kept")
	f.bind(t, kept, f.apps[0].ID)
	binding := f.bind(t, ended, f.apps[0].ID)
	name := "renamed"
	_, _, err := f.UpdateInstance(
		t.Context(), markettest.Admin, ended,
		market.InstanceUpdate{Update: market.Update{Name: &name}, Credentials: []byte(`{"a": 1}`)},
	)
	must(t, err)
	_, err = f.InstanceParameters(t.Context(), markettest.Admin, ended)
	if backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("parameters: %v", err)
	}
	_, err = f.DeleteBinding(t.Context(), markettest.Admin, binding)
	must(t, err)
	_, err = f.DeleteInstance(t.Context(), markettest.Admin, ended)
	must(t, err)
	f.create(t, "managed")
	j, err := f.DeleteApp(t.Context(), markettest.Admin, f.apps[0].ID)
	f.do(t, j, err)
	app, err := f.CreateApp(t.Context(), markettest.Admin, f.spaces[0].ID, "another", noMetadata)
	must(t, err)
	f.bind(t, kept, app.ID)
	j, err = f.DeleteOrganization(t.Context(), markettest.Admin, f.spaces[0].OrganizationID)
	f.do(t, j, err)

	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	if f.broker.told[ended] || f.broker.told[kept] || len(f.broker.told) != 1 {
		t.Errorf("the broker was told of %v; user-provided are %s and %s", f.broker.told, ended, kept)
	}
}

// TestBrokersHearOfTheirOwn takes instances of two brokers, whose catalogs have the same ids, through their lives.
func TestBrokersHearOfTheirOwn(t *testing.T) {
	t.Parallel()
	ours, theirs := newListener(), newListener()
	another := backstay.ServiceBroker{ID: "00000000-0000-4000-8000-0000000000b2", Name: "another"}
	f := newFloorOf(t, markettest.NewAmong(t, testkit.Postgres(t),
		markettest.Seller{ServiceBroker: markettest.Broker, Broker: ours},
		markettest.Seller{ServiceBroker: another, Broker: theirs}), ours)
	mine, yours := f.createFrom(t, markettest.Broker, "mine"), f.createFrom(t, another, "yours")
	b := f.bind(t, yours, f.apps[0].ID)
	if _, err := f.InstanceParameters(t.Context(), markettest.Admin, yours); err != nil {
		t.Error(err)
	}
	if !theirs.has(b) {
		t.Error("the binding is not at the broker of its instance")
	}
	j, err := f.DeleteBinding(t.Context(), markettest.Admin, b)
	f.do(t, j, err)
	j, err = f.DeleteSpace(t.Context(), markettest.Admin, f.spaces[0].ID)
	f.do(t, j, err)
	for _, c := range []struct {
		broker *listener
		id     backstay.InstanceID
	}{{ours, mine}, {theirs, yours}} {
		c.broker.mu.Lock()
		defer c.broker.mu.Unlock()
		if !c.broker.told[c.id] || len(c.broker.told) != 1 {
			t.Errorf("a broker of %s was told of %v", c.id, c.broker.told)
		}
	}
}

// TestNothingIsBoundAfterItsApp deletes an app while the broker is at work on its binding.
func TestNothingIsBoundAfterItsApp(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	in := f.create(t, "db")
	f.broker.gate = make(chan struct{})
	b, _, err := f.CreateBinding(
		t.Context(), markettest.Admin,
		market.NewBinding{Type: backstay.AppBinding, InstanceID: in, AppID: f.apps[0].ID},
	)
	must(t, err)
	j, err := f.DeleteApp(t.Context(), markettest.Admin, f.apps[0].ID)
	must(t, err)
	if early, err := f.AwaitJob(t.Context(), j.ID, 300*time.Millisecond); err != nil ||
		early.State != backstay.JobProcessing {
		t.Errorf("the app's end did not wait for its binding: %s, %v", early.State, err)
	}
	close(f.broker.gate)
	f.do(t, j, nil)
	if f.broker.has(b.ID) {
		t.Error("the broker still has the binding of an app that is gone")
	}
}

// TestNothingStaysBoundAfterASpace ends what is shared from either side.
func TestNothingStaysBoundAfterASpace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(t *testing.T, f *floor, in backstay.InstanceID) (backstay.Job, error)
	}{
		{"unshared", func(t *testing.T, f *floor, in backstay.InstanceID) (backstay.Job, error) {
			return f.UnshareInstance(t.Context(), markettest.Admin, in, f.spaces[1].ID)
		}},
		{"the borrower's space ends", func(t *testing.T, f *floor, in backstay.InstanceID) (backstay.Job, error) {
			return f.DeleteSpace(t.Context(), markettest.Admin, f.spaces[1].ID)
		}},
		{"the owner's space ends", func(t *testing.T, f *floor, in backstay.InstanceID) (backstay.Job, error) {
			return f.DeleteSpace(t.Context(), markettest.Admin, f.spaces[0].ID)
		}},
		{"the borrower's app ends", func(t *testing.T, f *floor, in backstay.InstanceID) (backstay.Job, error) {
			return f.DeleteApp(t.Context(), markettest.Admin, f.apps[1].ID)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFloor(t)
			in := f.create(t, "orders")
			must(t, f.ShareInstance(t.Context(), markettest.Admin, in, []backstay.SpaceID{f.spaces[1].ID}))
			b := f.bind(t, in, f.apps[1].ID)
			if !f.broker.bound[b] {
				t.Fatal("the broker has no binding: this test sees nothing")
			}
			j, err := c.end(t, f, in)
			f.do(t, j, err)
			f.broker.mu.Lock()
			defer f.broker.mu.Unlock()
			if f.broker.bound[b] {
				t.Error("the binding outlived what it stood on")
			}
			l, err := f.Bindings(t.Context(), markettest.Admin, market.BindingFilter{})
			must(t, err)
			if len(l.Items) > 0 {
				t.Errorf("bindings are left: %+v", l.Items)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

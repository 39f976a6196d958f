package broker_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestEndpointIsNoted: an instance of the version before has served, and the ledger does not know where.
func TestEndpointIsNoted(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	in := h.serving(t)
	apply(t, h, instances, in.ID, in.Spec)
	s, err := instances.Await(t.Context(), in.ID, 0)
	for err == nil && s.Phase != backend.Running {
		s, err = instances.Await(t.Context(), in.ID, s.Revision)
	}
	must(t, err)
	must(t, h.Reconcile(t.Context()))
	kept, err := h.Store.Instance(t.Context(), in.ID)
	must(t, err)
	if kept.Endpoint.Port == 0 || kept.Endpoint != s.Endpoint {
		t.Errorf("noted is %+v, want %+v", kept.Endpoint, s.Endpoint)
	}
}

func apply(t *testing.T, h *house, instances backend.Backend, id backstay.InstanceID, sealed []byte) {
	t.Helper()
	plain, err := seal.Key{1}.Open(sealed, "broker/instance/"+string(id)+"/spec")
	must(t, err)
	var spec backend.Spec
	must(t, json.Unmarshal(plain, &spec))
	spec.Generation = 1
	names, err := instances.Names(t.Context(), spec)
	must(t, err)
	spec.TLS, err = h.Certifier.Issue(names, h.Now())
	must(t, err)
	must(t, instances.Apply(t.Context(), spec))
}

// TestFailedCreateLeavesNothing: the backend did not answer when a create was withdrawn for the last time.
func TestFailedCreateLeavesNothing(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	r := h.newRequest(t, "S")
	made, err := h.Provision(t.Context(), r)
	must(t, err)
	op, err := h.Store.Operation(t.Context(), made.Operation)
	must(t, err)
	apply(t, h, instances, r.InstanceID, op.Spec)
	must(t, h.Reconcile(t.Context()))
	wantHeld(t, instances, r.InstanceID, 1) // an operation is at work on it
	must(t, h.Store.FailOperation(t.Context(), op.ID, "It did not."))
	must(t, h.Reconcile(t.Context()))
	s, err := instances.Await(t.Context(), r.InstanceID, 0)
	for err == nil {
		s, err = instances.Await(t.Context(), r.InstanceID, s.Revision)
	}
	wantKind(t, err, backstay.NotFound)
}

// TestUnreachedBackend: what lives elsewhere is told of as such, and refused in words.
func TestUnreachedBackend(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	in := h.serving(t)
	h.Backends = map[string]backend.Backend{"elsewhere": instances}
	reasons, err := h.Unhealthy(t.Context())
	must(t, err)
	if want := `It lives in "local", which this Backstay does not reach.`; reasons[in.ID] != want {
		t.Errorf("it is said %q, want %q", reasons[in.ID], want)
	}
	must(t, h.Reconcile(t.Context()))
	_, err = h.Bind(t.Context(), backstay.BindRequest{InstanceID: in.ID, BindingID: "b"})
	wantKind(t, err, backstay.Unavailable)
}

// TestEarlierLedger: what a backend has been told of since the ledger was copied is not what was accepted.
func TestEarlierLedger(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	h.run(t)
	r := brokertest.MustProvision(t, h)
	_, c := h.bind(t, r)
	in, err := h.Store.Instance(t.Context(), r.InstanceID)
	must(t, err)
	before := ask(t, c, "SHOW max_connections")
	plain, err := seal.Key{1}.Open(in.Spec, "broker/instance/"+string(in.ID)+"/spec")
	must(t, err)
	var spec backend.Spec
	must(t, json.Unmarshal(plain, &spec))
	spec.Generation, spec.Size.Connections = 5, 60
	must(t, instances.Apply(t.Context(), spec))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err = wait.Until(ctx, wait.Every(20*time.Millisecond), func() (bool, error) {
		s, err := instances.Await(ctx, in.ID, 0)
		return err == nil && (s.Generation < 6 || s.Phase != backend.Running), err
	})
	must(t, err)
	if after := ask(t, c, "SHOW max_connections"); after != before {
		t.Errorf("it serves %s connections, want the %s that are accepted", after, before)
	}
	updated, err := h.Update(t.Context(), update(r, h.plan(t, "M")))
	must(t, err)
	if op := h.outcome(t, r.InstanceID, updated.Operation); op.State != backstay.Succeeded {
		t.Errorf("an update after that ended as %+v", op)
	}
}

// countingStore counts how often the whole ledger is read.
type countingStore struct {
	broker.Store
	entries atomic.Int32
}

func (s *countingStore) Entries(ctx context.Context) ([]broker.Entry, error) {
	s.entries.Add(1)
	return s.Store.Entries(ctx)
}

// TestUnhealthyReadsTheLedgerSeldom: every look at an instance asks who is unhealthy, and the ledger may be long.
func TestUnhealthyReadsTheLedgerSeldom(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	counting := &countingStore{Store: h.Store}
	h.Store = counting
	now := time.Now()
	h.Now = func() time.Time { return now }
	for range 100 {
		_, err := h.Unhealthy(t.Context())
		must(t, err)
	}
	now = now.Add(time.Minute)
	_, err := h.Unhealthy(t.Context())
	must(t, err)
	if n := counting.entries.Load(); n != 2 {
		t.Errorf("the ledger was read %d times, want 2: at first, and a minute later", n)
	}
}

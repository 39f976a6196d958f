package broker_test

import (
	"encoding/json"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
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
	spec.TLS, err = h.Authority.Issue(names, h.Now())
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
	wantHeld(t, instances, r.InstanceID, 0)
}

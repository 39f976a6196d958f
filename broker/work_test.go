package broker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/keeper/keepertest"
)

// slow is a ledger from which the first reading of an operation takes long.
type slow struct {
	broker.Store
	once    *sync.Once
	reading chan struct{} // closed when it has been read
	gate    chan struct{} // what it waits for then
}

func (s slow) Operation(ctx context.Context, id backstay.OperationKey) (broker.Operation, error) {
	op, err := s.Store.Operation(ctx, id)
	s.once.Do(func() {
		close(s.reading)
		<-s.gate
	})
	return op, err
}

// TestSlowCreate has a create that is slow to begin find that a delete has come meanwhile: neither may the delete
// be lost, nor may the create make anything after it.
func TestSlowCreate(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	ledger := slow{h.Store, new(sync.Once), make(chan struct{}), make(chan struct{})}
	h.Store = ledger
	h.run(t)
	r := h.newRequest(t, "S")
	_, err := h.Provision(t.Context(), r)
	must(t, err)
	<-ledger.reading
	_, err = h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID})
	must(t, err)
	time.Sleep(300 * time.Millisecond) // for the delete to come as far as it can
	close(ledger.gate)
	h.gone(t, r.InstanceID)
	wantHeld(t, instances, r.InstanceID, 0)
}

// TestUnknownOperation: a ledger may have what only a newer version does.
func TestUnknownOperation(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	in := h.serving(t)
	op, err := h.Store.BeginOperation(t.Context(), broker.Operation{
		Operation: backstay.Operation{Type: "dance", State: backstay.InProgress},
		ID:        "dance", InstanceID: in.ID, Cause: broker.ByUser,
	})
	must(t, err)
	wantKind(t, h.Work(t.Context(), in.ID, op.ID, false), backstay.Unsupported)
	must(t, h.Work(t.Context(), in.ID, op.ID, true))
	ended, err := h.Store.Operation(t.Context(), op.ID)
	must(t, err)
	if ended.State != backstay.Failed || ended.Description != `This version of Backstay knows no operation "dance".` {
		t.Errorf("ended as %+v", ended)
	}
}

// serving records an instance and its creation, and that it serves, all without the backend.
func (h *house) serving(t *testing.T) broker.Instance {
	t.Helper()
	r := h.newRequest(t, "S")
	_, err := h.Provision(t.Context(), r)
	must(t, err)
	in, err := h.Store.Instance(t.Context(), r.InstanceID)
	must(t, err)
	must(t, h.Store.SucceedOperation(t.Context(), in.Operation.ID, "It serves.", broker.Serving{}))
	in, err = h.Store.Instance(t.Context(), r.InstanceID)
	must(t, err)
	return in
}

// deaf is a backend that cannot be told to remove anything.
type deaf struct{ backend.Backend }

func (deaf) Remove(context.Context, backstay.InstanceID) error {
	return errors.New("it does not listen")
}

// TestFailedDelete: what could not be deleted is as it was, and can be deleted later.
func TestFailedDelete(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, deaf{instances})
	in := h.serving(t)
	ended, err := h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: in.ID})
	must(t, err)
	if err := h.Work(t.Context(), in.ID, ended.Operation, false); err == nil {
		t.Error("a delete that could not be done is not to be tried again")
	}
	must(t, h.Work(t.Context(), in.ID, ended.Operation, true))
	kept, err := h.Store.Instance(t.Context(), in.ID)
	must(t, err)
	if op := kept.Operation; op.Type != backstay.Delete || op.State != backstay.Failed || kept.Generation != 1 {
		t.Errorf("it is kept as %+v", kept)
	}
}

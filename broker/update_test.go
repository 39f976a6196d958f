package broker_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/keeper/keepertest"
)

// limited is a backend that cannot serve more than a number of connections: such an instance never comes up.
type limited struct {
	backend.Backend
	connections int
}

func (l limited) Apply(ctx context.Context, s backend.Spec) error {
	if s.Size.Connections > l.connections {
		s.Version, s.Build = "0", "" // is not installed
	}
	return l.Backend.Apply(ctx, s)
}

// selling returns a broker that sells changes, on a backend that cannot serve plan L.
func selling(t *testing.T, room int) (*house, backend.Backend) {
	t.Helper()
	instances, _ := keepertest.Run(t, keepertest.Config(t, room))
	h := newHouse(t, limited{instances, 40})
	h.run(t)
	return h, instances
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	h, instances := selling(t, 1)
	r := brokertest.MustProvision(t, h)
	_, c := h.bind(t, r)
	tell(t, c, "CREATE TABLE kept AS SELECT 42 AS n")
	before := ask(t, c, "SHOW max_connections")

	wish := update(r, h.plan(t, "M"))
	extensions := backstay.UpdateRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, Parameters: json.RawMessage(`{"enable_extensions": ["uuid-ossp"]}`),
	}
	for _, u := range []backstay.UpdateRequest{wish, extensions} {
		must(t, h.AdmitUpdate(t.Context(), u))
		updated, err := h.Update(t.Context(), u)
		must(t, err)
		op := h.outcome(t, r.InstanceID, updated.Operation)
		if !updated.Async || op.Type != backstay.Update || op.State != backstay.Succeeded {
			t.Fatalf("%+v ended as %+v", updated, op)
		}
	}
	if after := ask(t, c, "SHOW max_connections"); after == before {
		t.Errorf("plan M has the %s connections of plan S", after)
	}
	if kept := ask(t, c, "SELECT n::text || uuid_nil()::text FROM kept"); kept[:2] != "42" {
		t.Errorf("the data have become %s", kept)
	}
	fetched, err := h.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: r.InstanceID})
	must(t, err)
	if fetched.PlanID != wish.PlanID || !strings.Contains(string(fetched.Parameters), `"enable_extensions":["uuid-ossp"]`) {
		t.Errorf("fetched as %+v", fetched)
	}
	wantHeld(t, instances, r.InstanceID, 3)

	again, err := h.Update(t.Context(), wish)
	must(t, err)
	if again.Async {
		t.Errorf("an update to what is there is %+v, want it done at once", again)
	}
	_, err = h.Provision(t.Context(), r)
	wantKind(t, err, backstay.Taken) // it has other attributes now
}

func TestFailedUpdateFallsBack(t *testing.T) {
	t.Parallel()
	h, instances := selling(t, 1)
	r := brokertest.MustProvision(t, h)
	_, c := h.bind(t, r)
	tell(t, c, "CREATE TABLE kept AS SELECT 42 AS n")
	before := ask(t, c, "SHOW max_connections")

	for generation := int64(3); generation <= 5; generation += 2 { // it may be asked for again
		updated, err := h.Update(t.Context(), update(r, h.plan(t, "L")))
		must(t, err)
		op := h.outcome(t, r.InstanceID, updated.Operation)
		if op.Type != backstay.Update || op.State != backstay.Failed || op.Description != notInstalled {
			t.Fatalf("ended as %+v", op)
		}
		wantHeld(t, instances, r.InstanceID, generation)
	}
	if after := ask(t, c, "SHOW max_connections"); after != before {
		t.Errorf("it serves %s connections, want the %s of before", after, before)
	}
	if kept := ask(t, c, "SELECT n::text FROM kept"); kept != "42" {
		t.Errorf("the data have become %s", kept)
	}
	fetched, err := h.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: r.InstanceID})
	must(t, err)
	if fetched.PlanID != r.PlanID {
		t.Errorf("plan %s is accepted, want %s", fetched.PlanID, r.PlanID)
	}
	_, err = h.Provision(t.Context(), r)
	must(t, err) // it is as it was asked for

	updated, err := h.Update(t.Context(), update(r, h.plan(t, "M")))
	must(t, err)
	if op := h.outcome(t, r.InstanceID, updated.Operation); op.State != backstay.Succeeded {
		t.Errorf("an update after those ended as %+v", op)
	}
}

// held is a backend that takes no newer Spec until it is let go.
type held struct {
	backend.Backend
	gate chan struct{}
}

func (h held) Apply(ctx context.Context, s backend.Spec) error {
	if s.Generation > 1 {
		select {
		case <-h.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.Backend.Apply(ctx, s)
}

func TestTwoUpdatesInARow(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	gate := make(chan struct{})
	h := newHouse(t, held{instances, gate})
	h.run(t)
	r := brokertest.MustProvision(t, h)
	first, err := h.Update(t.Context(), update(r, h.plan(t, "M")))
	must(t, err)
	again, err := h.Update(t.Context(), update(r, h.plan(t, "M")))
	must(t, err)
	if !again.Async || again.Operation != first.Operation {
		t.Errorf("the same update again is %+v, want %+v", again, first)
	}
	_, err = h.Update(t.Context(), update(r, h.plan(t, "L")))
	wantKind(t, err, backstay.Busy)
	_, err = h.Update(t.Context(), update(r, r.PlanID))
	wantKind(t, err, backstay.Busy)
	_, err = h.Bind(t.Context(), backstay.BindRequest{InstanceID: r.InstanceID, BindingID: "b"})
	wantKind(t, err, backstay.Busy)
	close(gate)
	if op := h.outcome(t, r.InstanceID, first.Operation); op.State != backstay.Succeeded {
		t.Errorf("the first update ended as %+v", op)
	}
}

// TestDeleteEndsAnUpdate deletes what waits for ever.
func TestDeleteEndsAnUpdate(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, held{instances, make(chan struct{})})
	h.run(t)
	r := brokertest.MustProvision(t, h)
	updated, err := h.Update(t.Context(), update(r, h.plan(t, "M")))
	must(t, err)
	_, err = h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID})
	must(t, err)
	if op, err := h.LastOperation(t.Context(), backstay.LastOperationRequest{
		InstanceID: r.InstanceID, Operation: updated.Operation,
	}); backstay.KindOf(err) != backstay.NotFound && op.State != backstay.Failed {
		t.Errorf("the update is %+v, %v", op, err)
	}
	h.gone(t, r.InstanceID)
	wantHeld(t, instances, r.InstanceID, 0)
}

// TestNoChangeIsSold: what users are told of an offering whose instances keep their plans.
func TestNoChangeIsSold(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, instances)
	h.Offered.Offerings[0].Fixed = true
	h.run(t)
	r := brokertest.MustProvision(t, h)
	wish := update(r, h.plan(t, "M"))
	err := h.AdmitUpdate(t.Context(), wish)
	wantKind(t, err, backstay.Unsupported)
	if backstay.SentenceOf(err) != "The service does not support changing plans." {
		t.Errorf("%v", err)
	}
	_, err = h.Update(t.Context(), wish)
	wantKind(t, err, backstay.Unsupported)
	updated, err := h.Update(t.Context(), update(r, r.PlanID))
	must(t, err)
	if updated.Async {
		t.Errorf("an update to the same plan is %+v", updated)
	}
}

// TestUpdateDuringAFailover is told that it is under way if it asks for it too, and is refused if it asks for anything
// else, also for nothing.
func TestUpdateDuringAFailover(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 4))
	gate := make(chan struct{})
	h := newHouse(t, held{instances, gate})
	h.sellsPairs(t)
	h.run(t)
	r := h.newRequest(t, "P")
	made, err := h.Provision(t.Context(), r)
	must(t, err)
	if op := h.outcome(t, r.InstanceID, made.Operation); op.State != backstay.Succeeded {
		t.Fatalf("the create ended as %+v", op)
	}
	asks := func(parameters string) backstay.UpdateRequest {
		u := update(r, r.PlanID)
		u.Parameters = json.RawMessage(parameters)
		return u
	}
	const failover = `{"reboot": true, "force_failover": true}`
	first, err := h.Update(t.Context(), asks(failover))
	must(t, err)
	again, err := h.Update(t.Context(), asks(failover))
	must(t, err)
	if !again.Async || again.Operation != first.Operation {
		t.Errorf("the same failover again is %+v, want %+v", again, first)
	}
	for _, other := range []string{`{}`, `{"reboot": true}`, `{"enable_extensions": ["citext"]}`} {
		_, err := h.Update(t.Context(), asks(other))
		wantKind(t, err, backstay.Busy)
	}
	close(gate)
	if op := h.outcome(t, r.InstanceID, first.Operation); op.State != backstay.Succeeded {
		t.Errorf("the failover ended as %+v", op)
	}
}

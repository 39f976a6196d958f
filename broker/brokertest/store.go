package brokertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// RunStore checks that the stores that open returns keep the contract of [broker.Store].
func RunStore(t *testing.T, open func(t testing.TB) broker.Store) {
	s := open(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s broker.Store)
	}{
		{"AnInstanceIsAddedOnce", anInstanceIsAddedOnce},
		{"AbsentIsNotFound", absentIsNotFound},
		{"OnlyTheCurrentOperationReports", onlyTheCurrentOperationReports},
		{"OperationsAreAwaited", operationsAreAwaited},
		{"ARemovedInstanceTakesItsBindings", aRemovedInstanceTakesItsBindings},
		{"ABindingIsAddedOnce", aBindingIsAddedOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, s)
		})
	}
}

func newInstance() broker.Instance {
	return broker.Instance{
		ID: backstay.InstanceID(uuid.NewString()), ServiceID: "offering", PlanID: "plan", OrganizationID: "organization", SpaceID: "space",
		Parameters: []byte("sealed parameters"), Spec: []byte("sealed spec"), OperationID: uuid.NewString(),
		Operation: backstay.Operation{Type: backstay.Create, State: backstay.InProgress, Description: "It begins."},
	}
}

func mustAdd(t *testing.T, s broker.Store) broker.Instance {
	t.Helper()
	in, err := s.AddInstance(t.Context(), newInstance())
	must(t, err)
	return in
}

func anInstanceIsAddedOnce(t *testing.T, s broker.Store) {
	given := newInstance()
	kept, err := s.AddInstance(t.Context(), given)
	must(t, err)
	if kept.Operation.CreatedAt.IsZero() || string(kept.Spec) != "sealed spec" || string(kept.Parameters) != "sealed parameters" || kept.SpaceID != "space" {
		t.Errorf("kept %+v", kept)
	}
	other := given
	other.SpaceID, other.OperationID = "another space", uuid.NewString()
	again, err := s.AddInstance(t.Context(), other)
	must(t, err)
	if again.SpaceID != given.SpaceID || again.OperationID != given.OperationID {
		t.Errorf("a second AddInstance changed what is kept to %+v", again)
	}
}

func absentIsNotFound(t *testing.T, s broker.Store) {
	id := backstay.InstanceID(uuid.NewString())
	_, err := s.Instance(t.Context(), id)
	wantKind(t, err, backstay.NotFound)
	wantKind(t, s.BeginOperation(t.Context(), id, uuid.NewString(), backstay.Operation{Type: backstay.Delete, State: backstay.InProgress}), backstay.NotFound)
	_, err = s.AwaitOperation(t.Context(), id, backstay.Operation{})
	wantKind(t, err, backstay.NotFound)
	must(t, s.RemoveInstance(t.Context(), id))
	_, err = s.Binding(t.Context(), backstay.BindingID(uuid.NewString()))
	wantKind(t, err, backstay.NotFound)
	must(t, s.RemoveBinding(t.Context(), backstay.BindingID(uuid.NewString())))
	_, err = s.AddBinding(t.Context(), broker.Binding{ID: backstay.BindingID(uuid.NewString()), InstanceID: id, Username: "u", Password: []byte("p")})
	wantKind(t, err, backstay.NotFound)
}

func onlyTheCurrentOperationReports(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	deletion := uuid.NewString()
	must(t, s.BeginOperation(t.Context(), in.ID, deletion, backstay.Operation{Type: backstay.Delete, State: backstay.InProgress, Description: "It ends."}))
	late := backstay.Operation{Type: backstay.Create, State: backstay.Succeeded, Description: "Too late."}
	must(t, s.ReportOperation(t.Context(), in.ID, in.OperationID, late))
	kept, err := s.Instance(t.Context(), in.ID)
	must(t, err)
	if kept.OperationID != deletion || kept.Operation.Type != backstay.Delete || kept.Operation.Description != "It ends." {
		t.Errorf("an operation that was replaced reported: %+v", kept.Operation)
	}
	must(t, s.ReportOperation(t.Context(), in.ID, deletion, backstay.Operation{Type: backstay.Delete, State: backstay.Failed, Description: "It did not."}))
	kept, err = s.Instance(t.Context(), in.ID)
	must(t, err)
	if kept.Operation.State != backstay.Failed || kept.Operation.UpdatedAt.Before(kept.Operation.CreatedAt) {
		t.Errorf("reported: %+v", kept.Operation)
	}
}

func operationsAreAwaited(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.AwaitOperation(short, in.ID, in.Operation); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what does not change: %v", err)
	}
	heard := make(chan backstay.Operation)
	go func() {
		op, err := s.AwaitOperation(t.Context(), in.ID, in.Operation)
		if err != nil {
			t.Error(err)
		}
		heard <- op
	}()
	must(t, s.ReportOperation(t.Context(), in.ID, in.OperationID, backstay.Operation{Type: backstay.Create, State: backstay.InProgress, Description: "It goes on."}))
	if op := <-heard; op.Description != "It goes on." {
		t.Errorf("heard of %+v", op)
	}
}

func aRemovedInstanceTakesItsBindings(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	b := broker.Binding{ID: backstay.BindingID(uuid.NewString()), InstanceID: in.ID, Username: "u", Password: []byte("p")}
	_, err := s.AddBinding(t.Context(), b)
	must(t, err)
	must(t, s.RemoveInstance(t.Context(), in.ID))
	_, err = s.Binding(t.Context(), b.ID)
	wantKind(t, err, backstay.NotFound)
	_, err = s.Instance(t.Context(), in.ID)
	wantKind(t, err, backstay.NotFound)
}

func aBindingIsAddedOnce(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	b := broker.Binding{ID: backstay.BindingID(uuid.NewString()), InstanceID: in.ID, Username: "u1", Password: []byte("first"), Parameters: []byte("given")}
	_, err := s.AddBinding(t.Context(), b)
	must(t, err)
	b.Password, b.Parameters = []byte("second"), nil
	kept, err := s.AddBinding(t.Context(), b)
	must(t, err)
	if string(kept.Password) != "first" || string(kept.Parameters) != "given" || kept.Username != "u1" || kept.InstanceID != in.ID {
		t.Errorf("a second AddBinding changed what is kept to %+v", kept)
	}
	must(t, s.RemoveBinding(t.Context(), b.ID))
	_, err = s.Binding(t.Context(), b.ID)
	wantKind(t, err, backstay.NotFound)
}

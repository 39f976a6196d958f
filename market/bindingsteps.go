package market

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// binder is what a job knows of a binding that it makes or ends: what it has asked of the broker, and how to ask
// what has become of it.
type binder struct {
	from        supply
	last        backstay.LastBindingOperationRequest // with the key that the broker gave the operation
	async       bool                                 // the broker is still at it
	Credentials backstay.Credentials
}

func (m *Market) createBindingSteps(j backstay.Job) []step.Step {
	id := backstay.BindingID(j.Resource)
	var b binder
	return []step.Step{
		{Name: "market.bind.bound", Do: func(ctx context.Context) (err error) {
			b, err = m.bind(ctx, j, id)
			return err
		}},
		{Name: "market.bind.awaited", Do: func(ctx context.Context) error {
			return m.inTime(ctx, b.from, j, b.awaitCredentials)
		}},
		{Name: "market.bind.recorded", Do: func(ctx context.Context) error {
			sealed, err := m.sealJSON(credentialsContext(id), b.Credentials)
			if err != nil {
				return err
			}
			op := backstay.Operation{Type: backstay.Create, State: backstay.Succeeded, Description: "create succeeded"}
			return m.Store.FinishBinding(ctx, id, op, sealed, backstay.Job{ID: j.ID, State: backstay.JobComplete})
		}},
	}
}

func (m *Market) bind(ctx context.Context, j backstay.Job, id backstay.BindingID) (b binder, err error) {
	binding, err := m.binding(ctx, id)
	if err != nil {
		return b, err
	}
	if b.from, err = m.supplyOfInstance(ctx, binding.InstanceID); err != nil {
		return b, err
	}
	sealed, _, err := m.Store.BindingSecrets(ctx, id)
	if err != nil {
		return b, err
	}
	parameters, err := m.openParameters(bindingParametersContext(id), sealed)
	if err != nil {
		return b, err
	}
	answer, err := b.from.broker.Bind(ctx, b.from.bind(callOf(j), binding, parameters))
	b.last = b.from.lastBindingOperation(callOf(j), binding, answer.Operation)
	b.async, b.Credentials = answer.Async, answer.Credentials
	return b, err
}

// awaitCredentials waits until a broker that makes bindings asynchronously has made this one, and fetches its
// credentials.
func (b *binder) awaitCredentials(ctx context.Context) error {
	if !b.async {
		return nil
	}
	op, err := b.await(ctx)
	if err != nil {
		return err
	}
	if op.State == backstay.Failed {
		return backstay.Errorf(backstay.Unavailable, "%s", op.Description)
	}
	fetched, err := b.from.broker.FetchBinding(ctx, backstay.FetchBindingRequest{
		Call: b.last.Call, InstanceID: b.last.InstanceID, BindingID: b.last.BindingID,
		ServiceID: b.last.ServiceID, PlanID: b.last.PlanID,
	})
	b.Credentials = fetched.Credentials
	return err
}

// awaitGone waits until a broker that ends bindings asynchronously does not know this one any more.
func (b *binder) awaitGone(ctx context.Context) error {
	if !b.async {
		return nil
	}
	op, err := b.await(ctx)
	if err == nil && op.State == backstay.Failed {
		err = backstay.Errorf(backstay.Unavailable, "%s", op.Description)
	}
	return absentIsFine(err)
}

// await waits for the end of the operation that the broker was asked for, and returns the operation.
func (b *binder) await(ctx context.Context) (backstay.Operation, error) {
	op, err := b.from.broker.LastBindingOperation(ctx, b.last)
	for err == nil && op.State == backstay.InProgress {
		op, err = b.next(ctx, op)
	}
	return op, err
}

func (b *binder) next(ctx context.Context, seen backstay.Operation) (backstay.Operation, error) {
	if a, ok := b.from.broker.(backstay.BindingOperationAwaiter); ok {
		return a.AwaitBindingOperation(ctx, b.last, seen)
	}
	select {
	case <-time.After(pollInterval):
		return b.from.broker.LastBindingOperation(ctx, b.last)
	case <-ctx.Done():
		return seen, ctx.Err()
	}
}

// unbind ends a binding at its broker. When it returns, the broker does not know the binding any more.
func (m *Market) unbind(ctx context.Context, j backstay.Job, binding backstay.Binding) error {
	from, err := m.supplyOfInstance(ctx, binding.InstanceID)
	if err != nil {
		return err
	}
	answer, err := from.broker.Unbind(ctx, from.unbind(callOf(j), binding))
	if err != nil {
		return absentIsFine(err)
	}
	b := binder{
		from: from, last: from.lastBindingOperation(callOf(j), binding, answer.Operation), async: answer.Async,
	}
	return m.inTime(ctx, from, j, b.awaitGone)
}

// binding returns a binding for a job, which may see all bindings.
func (m *Market) binding(ctx context.Context, id backstay.BindingID) (backstay.Binding, error) {
	l, err := m.Store.Bindings(ctx, BindingFilter{IDs: []backstay.BindingID{id}})
	return single(l, err, "Service credential binding")
}

// failNewBinding takes back what the broker may have made before it failed, then records the failure.
func (m *Market) failNewBinding(ctx context.Context, j backstay.Job) error {
	id := backstay.BindingID(j.Resource)
	b, err := m.binding(ctx, id)
	if err != nil {
		return err
	}
	if err := m.unbind(ctx, j, b); err != nil {
		m.Log.Warn("a failed binding could not be taken back; deleting it will try again", "binding", id, "error", err)
	}
	return m.Store.FinishBinding(
		ctx, id, backstay.Operation{Type: backstay.Create, State: backstay.Failed, Description: j.Sentence}, nil, j,
	)
}

func (m *Market) deleteBindingSteps(j backstay.Job) []step.Step {
	id := backstay.BindingID(j.Resource)
	return []step.Step{
		{Name: "market.unbind.unbound", Do: func(ctx context.Context) error {
			b, err := m.binding(ctx, id)
			if err != nil {
				return absentIsFine(err)
			}
			return m.unbind(ctx, j, b)
		}},
		{Name: "market.unbind.recorded", Do: func(ctx context.Context) error {
			return m.Store.RemoveBinding(ctx, id, backstay.Event{}, &j.ID)
		}},
	}
}

func (m *Market) failBindingDeletion(ctx context.Context, j backstay.Job) error {
	op := backstay.Operation{Type: backstay.Delete, State: backstay.Failed, Description: j.Sentence}
	return m.Store.FinishBinding(ctx, backstay.BindingID(j.Resource), op, nil, j)
}

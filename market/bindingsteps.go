package market

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// binder is what a job knows of a binding that it makes or ends: what it has asked of the broker, and how to ask
// what has become of it.
type binder struct {
	from  supply
	last  backstay.LastBindingOperationRequest // with the key that the broker gave the operation
	async bool                                 // the broker is still at it
	made  backstay.BindingDetails

	operation backstay.OperationType // what the broker is at
}

// LogValue is without what the binding gives.
func (b binder) LogValue() slog.Value { return backstay.RedactedValue(b) }

func (m *Market) createBindingSteps(j backstay.Job) []step.Step {
	id := backstay.BindingID(j.Resource)
	var b binder
	return []step.Step{
		{Name: "market.bind.bound", Do: func(ctx context.Context) (err error) {
			b, err = m.bind(ctx, j, id)
			return err
		}},
		{Name: "market.bind.awaited", Do: func(ctx context.Context) error {
			return m.inTime(ctx, b.from, j, "bind", b.awaitCredentials)
		}},
		{Name: "market.bind.recorded", Do: func(ctx context.Context) error {
			if err := m.keepExtras(ctx, b.from.offering, id, b.made); err != nil {
				return err
			}
			sealed, err := m.sealJSON(credentialsContext(id), b.made.Credentials)
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
	at, err := m.contextIn(ctx, binding.SpaceID)
	if err != nil {
		return b, err
	}
	if err := m.noteAsked(ctx, j, b.from.broker); err != nil {
		return b, err
	}
	answer, err := b.from.broker.Bind(ctx, b.from.bind(callOf(j), binding, at, parameters))
	b.last, b.operation = b.from.lastBindingOperation(callOf(j), binding, answer.Operation), backstay.Create
	b.async, b.made = answer.Async, answer.BindingDetails
	return b, err
}

// What Cloud Controller says where a broker gives what its offering does not require.
var (
	errNoDrain = backstay.Errorf(backstay.Unavailable, "The service is attempting to stream logs from your application, "+
		"but is not registered as a logging service. Please contact the service provider.")
	errNoVolumes = backstay.Errorf(backstay.Unavailable, "The service is attempting to supply volume mounts from your "+
		"application, but is not registered as a volume mount service. Please contact the service provider.")
)

// keepExtras keeps what a binding gives besides its credentials, as far as the offering says that it may.
func (m *Market) keepExtras(
	ctx context.Context, o backstay.Offering, id backstay.BindingID, made backstay.BindingDetails,
) error {
	volumes := made.VolumeMounts
	if strings.Trim(string(volumes), "[] \n") == "" {
		volumes = nil
	}
	switch {
	case made.SyslogDrainURL != "" && !slices.Contains(o.Requires, "syslog_drain"):
		return orphaned(errNoDrain)
	case volumes != nil && !slices.Contains(o.Requires, "volume_mount"):
		return orphaned(errNoVolumes)
	case made.SyslogDrainURL == "" && made.RouteServiceURL == "" && volumes == nil:
		return nil
	}
	sealed, err := m.sealJSON(extrasContext(id), extras{made.RouteServiceURL, volumes})
	if err != nil {
		return err
	}
	return m.Store.KeepBindingExtras(ctx, id, made.SyslogDrainURL, sealed)
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
		return orphaned(failedAs(backstay.Create, op))
	}
	fetched, err := b.from.broker.FetchBinding(ctx, backstay.FetchBindingRequest{
		Call: b.last.Call, InstanceID: b.last.InstanceID, BindingID: b.last.BindingID,
		ServiceID: b.last.ServiceID, PlanID: b.last.PlanID,
	})
	b.made = fetched.BindingDetails
	if err != nil {
		return orphaned(err) // it has been made, and nobody has it
	}
	return nil
}

// awaitGone waits until a broker that ends bindings asynchronously does not know this one any more.
func (b *binder) awaitGone(ctx context.Context) error {
	if !b.async {
		return nil
	}
	op, err := b.await(ctx)
	if err == nil && op.State == backstay.Failed {
		err = failedAs(backstay.Delete, op)
	}
	return absentIsFine(err)
}

// await waits for the end of the operation that the broker was asked for, and returns the operation.
func (b *binder) await(ctx context.Context) (backstay.Operation, error) {
	next := polling(ctx, func() (backstay.Operation, error) { return b.from.broker.LastBindingOperation(ctx, b.last) })
	if a, ok := b.from.broker.(backstay.BindingOperationAwaiter); ok {
		next = func(seen backstay.Operation) (backstay.Operation, error) {
			return a.AwaitBindingOperation(ctx, b.last, seen)
		}
	}
	return follow(ctx, b.operation, next, unreported)
}

// unbind ends a binding at its broker. When it returns, the broker does not know the binding any more.
func (m *Market) unbind(ctx context.Context, j backstay.Job, binding backstay.Binding) error {
	from, err := m.supplyOfInstance(ctx, binding.InstanceID)
	if err != nil {
		return err
	}
	return m.unbindAt(ctx, from, j, binding)
}

func (m *Market) unbindAt(ctx context.Context, from supply, j backstay.Job, binding backstay.Binding) error {
	answer, err := from.broker.Unbind(ctx, from.unbind(callOf(j), binding))
	if err != nil {
		return absentIsFine(err)
	}
	b := binder{
		from: from, last: from.lastBindingOperation(callOf(j), binding, answer.Operation), async: answer.Async,
		operation: backstay.Delete,
	}
	return m.inTime(ctx, from, j, "unbind", b.awaitGone)
}

// binding returns a binding for a job, which may see all bindings.
func (m *Market) binding(ctx context.Context, id backstay.BindingID) (backstay.Binding, error) {
	l, err := m.Store.Bindings(ctx, BindingFilter{IDs: []backstay.BindingID{id}})
	return single(l, err, "Service credential binding")
}

// failNewBinding has taken back what the broker may have made before it failed, and records the failure. A broker that
// is part of this program is asked at once.
func (m *Market) failNewBinding(ctx context.Context, j backstay.Job, reason error) error {
	id := backstay.BindingID(j.Resource)
	b, err := m.binding(ctx, id)
	if err != nil {
		return err
	}
	if next, here := m.orphanOf(ctx, j, reason); !here {
		j.Next = next
	} else if err := m.unbind(ctx, j, b); err != nil {
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

func (m *Market) failBindingDeletion(ctx context.Context, j backstay.Job, _ error) error {
	op := backstay.Operation{Type: backstay.Delete, State: backstay.Failed, Description: j.Sentence}
	return m.Store.FinishBinding(ctx, backstay.BindingID(j.Resource), op, nil, j)
}

package market

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

func (m *Market) createInstanceSteps(j backstay.Job) []step.Step {
	id := backstay.InstanceID(j.Resource)
	var from supply
	var key backstay.OperationKey // empty: there is nothing to wait for
	outcome := backstay.Operation{Type: backstay.Create, State: backstay.Succeeded, Description: "create succeeded"}
	return []step.Step{
		{Name: "market.create.provisioned", Do: func(ctx context.Context) (err error) {
			from, key, err = m.provision(ctx, j, id)
			return err
		}},
		{Name: "market.create.awaited", Do: func(ctx context.Context) (err error) {
			if key != "" {
				outcome, err = m.awaitOperation(ctx, from, from.lastOperation(callOf(j), id, key), backstay.Create)
			}
			return err
		}},
		{Name: "market.create.recorded", Do: func(ctx context.Context) error {
			if outcome.State == backstay.Failed {
				return backstay.Errorf(backstay.Unavailable, "%s", outcome.Description)
			}
			return m.Store.ReportInstance(ctx, id, outcome, &backstay.Job{ID: j.ID, State: backstay.JobComplete})
		}},
	}
}

func (m *Market) provision(
	ctx context.Context, j backstay.Job, id backstay.InstanceID,
) (from supply, key backstay.OperationKey, err error) {
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{id}})
	in, err := only(l, err, "Service instance")
	if err != nil {
		return from, key, err
	}
	at, err := m.in(ctx, in.SpaceID)
	if err != nil {
		return from, key, err
	}
	if from, err = m.supplyOf(ctx, in); err != nil {
		return from, key, err
	}
	sealed, err := m.Store.InstanceParameters(ctx, id)
	if err != nil {
		return from, key, err
	}
	parameters, err := m.openParameters(parametersContext(id), sealed)
	if err != nil {
		return from, key, err
	}
	answer, err := from.broker.Provision(ctx, from.provision(callOf(j), in, at, parameters))
	return from, answer.Operation, err
}

// awaitOperation passes on what a broker says of an operation of that type until it has ended.
func (m *Market) awaitOperation(
	ctx context.Context, from supply, r backstay.LastOperationRequest, t backstay.OperationType,
) (backstay.Operation, error) {
	op, err := from.broker.LastOperation(ctx, r)
	for err == nil && op.State == backstay.InProgress {
		op.Type = t
		if err := m.Store.ReportInstance(ctx, r.InstanceID, op, nil); err != nil {
			return op, err
		}
		op, err = nextOperation(ctx, from.broker, r, op)
	}
	op.Type = t
	return op, err
}

// pollInterval is how often a broker is asked that cannot be waited for.
const pollInterval = time.Second

func nextOperation(
	ctx context.Context, b backstay.Broker, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	if a, ok := b.(backstay.OperationAwaiter); ok {
		return a.AwaitOperation(ctx, r, seen)
	}
	select {
	case <-time.After(pollInterval):
		return b.LastOperation(ctx, r)
	case <-ctx.Done():
		return seen, ctx.Err()
	}
}

func (m *Market) deleteInstanceSteps(j backstay.Job) []step.Step {
	id := backstay.InstanceID(j.Resource)
	return []step.Step{
		{Name: "market.delete.deprovisioned", Do: func(ctx context.Context) error {
			from, err := m.supplyOfInstance(ctx, id)
			if err != nil {
				return absentIsFine(err)
			}
			return m.deprovision(ctx, from, j, id)
		}},
		{Name: "market.delete.recorded", Do: func(ctx context.Context) error {
			return m.Store.RemoveInstance(ctx, id, backstay.Event{}, &j.ID)
		}},
	}
}

// deprovision ends an instance at its broker: it returns when the broker does not know it any more.
func (m *Market) deprovision(ctx context.Context, from supply, j backstay.Job, id backstay.InstanceID) error {
	answer, err := from.broker.Deprovision(ctx, from.deprovision(callOf(j), id))
	if err != nil || !answer.Async {
		return absentIsFine(err)
	}
	op, err := m.awaitOperation(ctx, from, from.lastOperation(callOf(j), id, answer.Operation), backstay.Delete)
	if err == nil && op.State == backstay.Failed {
		err = backstay.Errorf(backstay.Unavailable, "%s", op.Description)
	}
	return absentIsFine(err)
}

func absentIsFine(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

// failInstance records that an operation on an instance failed, with the job's sentence.
func failInstance(t backstay.OperationType) func(*Market, context.Context, backstay.Job) error {
	return func(m *Market, ctx context.Context, j backstay.Job) error {
		op := backstay.Operation{Type: t, State: backstay.Failed, Description: j.Sentence}
		return m.Store.ReportInstance(ctx, backstay.InstanceID(j.Resource), op, &j)
	}
}

func (m *Market) createBindingSteps(j backstay.Job) []step.Step {
	id := backstay.BindingID(j.Resource)
	var credentials backstay.Credentials
	return []step.Step{
		{Name: "market.bind.bound", Do: func(ctx context.Context) (err error) {
			credentials, err = m.bind(ctx, j, id)
			return err
		}},
		{Name: "market.bind.recorded", Do: func(ctx context.Context) error {
			sealed, err := m.sealJSON(credentialsContext(id), credentials)
			if err != nil {
				return err
			}
			op := backstay.Operation{Type: backstay.Create, State: backstay.Succeeded, Description: "create succeeded"}
			return m.Store.FinishBinding(ctx, id, op, sealed, backstay.Job{ID: j.ID, State: backstay.JobComplete})
		}},
	}
}

func (m *Market) bind(ctx context.Context, j backstay.Job, id backstay.BindingID) (backstay.Credentials, error) {
	b, err := m.binding(ctx, id)
	if err != nil {
		return nil, err
	}
	from, err := m.supplyOfInstance(ctx, b.InstanceID)
	if err != nil {
		return nil, err
	}
	sealed, _, err := m.Store.BindingSecrets(ctx, id)
	if err != nil {
		return nil, err
	}
	parameters, err := m.openParameters(bindingParametersContext(id), sealed)
	if err != nil {
		return nil, err
	}
	answer, err := from.broker.Bind(ctx, from.bind(callOf(j), b, parameters))
	return answer.Credentials, err
}

// unbind ends a binding at its broker, which does not know it any more then.
func (m *Market) unbind(ctx context.Context, j backstay.Job, b backstay.Binding) error {
	from, err := m.supplyOfInstance(ctx, b.InstanceID)
	if err != nil {
		return err
	}
	_, err = from.broker.Unbind(ctx, from.unbind(callOf(j), b))
	return absentIsFine(err)
}

// binding reads a binding for a job, which acts for nobody in particular.
func (m *Market) binding(ctx context.Context, id backstay.BindingID) (backstay.Binding, error) {
	l, err := m.Store.Bindings(ctx, BindingFilter{IDs: []backstay.BindingID{id}})
	return only(l, err, "Service credential binding")
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
	return m.Store.FinishBinding(ctx, id, backstay.Operation{Type: backstay.Create, State: backstay.Failed, Description: j.Sentence}, nil, j)
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
		{Name: "market.unbind.recorded", Do: func(ctx context.Context) error { return m.Store.RemoveBinding(ctx, id, backstay.Event{}, &j.ID) }},
	}
}

func (m *Market) failBindingDeletion(ctx context.Context, j backstay.Job) error {
	op := backstay.Operation{Type: backstay.Delete, State: backstay.Failed, Description: j.Sentence}
	return m.Store.FinishBinding(ctx, backstay.BindingID(j.Resource), op, nil, j)
}

package market

import (
	"context"
	"errors"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

func (m *Market) createInstanceSteps(j backstay.Job) []step.Step {
	id := backstay.InstanceID(j.Resource)
	var outcome backstay.Operation
	return []step.Step{
		{Name: "market.create.provisioned", Do: func(ctx context.Context) error { return m.provision(ctx, id) }},
		{Name: "market.create.awaited", Do: func(ctx context.Context) (err error) {
			outcome, err = m.awaitOperation(ctx, id)
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

func (m *Market) provision(ctx context.Context, id backstay.InstanceID) error {
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{id}})
	in, err := only(l, err, "Service instance")
	if err != nil {
		return err
	}
	at, err := m.in(ctx, in.SpaceID)
	if err != nil {
		return err
	}
	plans, err := m.Store.Plans(ctx, PlanFilter{IDs: []backstay.PlanID{in.PlanID}})
	plan, err := only(plans, err, "Service plan")
	if err != nil {
		return err
	}
	sealed, err := m.Store.InstanceParameters(ctx, id)
	if err != nil {
		return err
	}
	parameters, err := m.openParameters(parametersContext(id), sealed)
	if err != nil {
		return err
	}
	return m.Broker.Provision(ctx, provisionRequest(in, at, plan, parameters))
}

// awaitOperation passes on what the broker says of its operation until it has ended.
func (m *Market) awaitOperation(ctx context.Context, id backstay.InstanceID) (backstay.Operation, error) {
	op, err := m.Broker.LastOperation(ctx, id)
	for err == nil && op.State == backstay.InProgress {
		if err := m.Store.ReportInstance(ctx, id, op, nil); err != nil {
			return op, err
		}
		op, err = m.nextOperation(ctx, id, op)
	}
	return op, err
}

func (m *Market) nextOperation(ctx context.Context, id backstay.InstanceID, seen backstay.Operation) (backstay.Operation, error) {
	a, ok := m.Broker.(backstay.OperationAwaiter)
	if !ok {
		return seen, errors.New("the broker cannot be waited for")
	}
	return a.AwaitOperation(ctx, id, seen)
}

func (m *Market) deleteInstanceSteps(j backstay.Job) []step.Step {
	id := backstay.InstanceID(j.Resource)
	return []step.Step{
		{Name: "market.delete.deprovisioned", Do: func(ctx context.Context) error { return absentIsFine(m.Broker.Deprovision(ctx, id)) }},
		{Name: "market.delete.awaited", Do: func(ctx context.Context) error { return m.awaitGone(ctx, id) }},
		{Name: "market.delete.recorded", Do: func(ctx context.Context) error { return m.Store.RemoveInstance(ctx, id, backstay.Event{}, &j.ID) }},
	}
}

// awaitGone waits for the end of a delete: the broker does not know the instance any more.
func (m *Market) awaitGone(ctx context.Context, id backstay.InstanceID) error {
	op, err := m.awaitOperation(ctx, id)
	if err != nil {
		return absentIsFine(err)
	}
	return backstay.Errorf(backstay.Unavailable, "%s", op.Description)
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
			credentials, err = m.bind(ctx, id)
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

func (m *Market) bind(ctx context.Context, id backstay.BindingID) (backstay.Credentials, error) {
	b, err := m.binding(ctx, id)
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
	return m.Broker.Bind(ctx, bindRequest(b, parameters))
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
	if err := absentIsFine(m.Broker.Unbind(ctx, b.InstanceID, id)); err != nil {
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
			return absentIsFine(m.Broker.Unbind(ctx, b.InstanceID, id))
		}},
		{Name: "market.unbind.recorded", Do: func(ctx context.Context) error { return m.Store.RemoveBinding(ctx, id, backstay.Event{}, &j.ID) }},
	}
}

func (m *Market) failBindingDeletion(ctx context.Context, j backstay.Job) error {
	op := backstay.Operation{Type: backstay.Delete, State: backstay.Failed, Description: j.Sentence}
	return m.Store.FinishBinding(ctx, backstay.BindingID(j.Resource), op, nil, j)
}

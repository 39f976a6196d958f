package market

import (
	"cmp"
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// asking is what a job has asked a broker to do with an instance, and what has become of it.
type asking struct {
	from    supply
	last    backstay.LastOperationRequest // with the operation's key; empty: there is nothing to wait for
	outcome backstay.Operation
	found   InForce // once the outcome is known to be a success
}

// newAsking notes what a broker has answered, and keeps the address of its dashboard if it has told one.
func (m *Market) newAsking(
	ctx context.Context, j backstay.Job, from supply, t backstay.OperationType, key backstay.OperationKey,
	dashboard string,
) (asking, error) {
	id := backstay.InstanceID(j.Resource)
	done := backstay.Operation{Type: t, State: backstay.Succeeded, Description: string(t) + " succeeded"}
	asked := asking{from: from, last: from.lastOperation(callOf(j), id, key), outcome: done}
	if dashboard == "" {
		return asked, nil
	}
	return asked, m.Store.KeepDashboard(ctx, id, dashboard)
}

// awaitOutcome waits for the end of what was asked for.
func (m *Market) awaitOutcome(ctx context.Context, j backstay.Job, a *asking) error {
	if a.last.Operation == "" {
		return nil
	}
	return m.inTime(ctx, a.from, j, func(ctx context.Context) (err error) {
		a.outcome, err = m.awaitOperation(ctx, a.from, a.last, a.outcome.Type)
		return err
	})
}

// maxPolling is how long an operation may take at a broker whose catalog names no time. Cloud Foundry waits as
// long.
const maxPolling = 7 * Day

var errTooLong = backstay.Errorf(backstay.Unavailable,
	"The service broker has not finished in the time that it has for this.")

// inTime waits for a broker, as long as the plan's operations may take (OSB 2.17, "maximum_polling_duration")
// since the job was accepted. However late it is, the broker is asked once more.
func (m *Market) inTime(
	ctx context.Context, from supply, j backstay.Job, wait func(context.Context) error,
) error {
	left := j.CreatedAt.Add(cmp.Or(from.plan.MaximumPollingDuration, maxPolling)).Sub(m.now())
	limited, cancel := context.WithTimeoutCause(ctx, max(left, time.Second), errTooLong)
	defer cancel()
	err := wait(limited)
	if err != nil && context.Cause(limited) == errTooLong {
		return errTooLong
	}
	return err
}

// ending is the steps, named after the operation, from a request that a broker has taken to the record of what has
// become of it.
func (m *Market) ending(j backstay.Job, a *asking, operation string) []step.Step {
	return []step.Step{
		{Name: operation + ".awaited", Do: func(ctx context.Context) error { return m.awaitOutcome(ctx, j, a) }},
		{Name: operation + ".fetched", Do: func(ctx context.Context) (err error) {
			if a.outcome.State == backstay.Failed {
				return backstay.Errorf(backstay.Unavailable, "%s", a.outcome.Description)
			}
			a.found, err = m.inForceAfter(ctx, a.from, j)
			return err
		}},
		{Name: operation + ".recorded", Do: func(ctx context.Context) error {
			events, err := m.noticed(ctx, j, a.outcome)
			if err != nil {
				return err
			}
			done := backstay.Job{ID: j.ID, State: backstay.JobComplete}
			return m.Store.FinishInstance(ctx, backstay.InstanceID(j.Resource), a.outcome, a.found, done, events...)
		}},
	}
}

// jobInstance returns the instance that a job works on, with its place and its supply.
func (m *Market) jobInstance(
	ctx context.Context, j backstay.Job,
) (in backstay.Instance, at place, from supply, err error) {
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{backstay.InstanceID(j.Resource)}})
	if in, err = single(l, err, "Service instance"); err != nil {
		return in, at, from, err
	}
	if at, err = m.placeOf(ctx, in.SpaceID); err != nil {
		return in, at, from, err
	}
	from, err = m.supplyOf(ctx, in)
	return in, at, from, err
}

func (m *Market) createInstanceSteps(j backstay.Job) []step.Step {
	var asked asking
	provisioned := step.Step{Name: "market.create.provisioned", Do: func(ctx context.Context) (err error) {
		asked, err = m.provision(ctx, j)
		return err
	}}
	return append([]step.Step{provisioned}, m.ending(j, &asked, "market.create")...)
}

func (m *Market) provision(ctx context.Context, j backstay.Job) (asking, error) {
	in, at, from, err := m.jobInstance(ctx, j)
	if err == nil && in.LastOperation.Type == backstay.Delete {
		err = backstay.Errorf(backstay.NotFound, "The service instance was deleted while it was being created.")
	}
	if err != nil {
		return asking{}, err
	}
	sealed, err := m.Store.InstanceParameters(ctx, in.ID)
	if err != nil {
		return asking{}, err
	}
	parameters, err := m.openParameters(parametersContext(in.ID), sealed)
	if err != nil {
		return asking{}, err
	}
	answer, err := from.broker.Provision(ctx, from.provision(callOf(j), in, at, parameters))
	if err != nil {
		return asking{}, err
	}
	return m.newAsking(ctx, j, from, backstay.Create, answer.Operation, answer.DashboardURL)
}

// awaitOperation waits until an operation of that type has ended at the broker. What the broker says meanwhile it
// records, so that users can follow.
func (m *Market) awaitOperation(
	ctx context.Context, from supply, r backstay.LastOperationRequest, t backstay.OperationType,
) (backstay.Operation, error) {
	op, err := from.broker.LastOperation(ctx, r)
	for err == nil && op.State == backstay.InProgress {
		op.Type = t
		if err := m.Store.ReportInstance(ctx, r.InstanceID, op); err != nil {
			return op, err
		}
		op, err = nextOperation(ctx, from.broker, r, op)
	}
	op.Type = t
	return op, err
}

// pollInterval is how long the market waits before it asks again how an operation comes along, if the broker is no
// OperationAwaiter.
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
			_, _, from, err := m.jobInstance(ctx, j)
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

// deprovision ends an instance at its broker. When it returns, the broker does not know the instance any more.
func (m *Market) deprovision(ctx context.Context, from supply, j backstay.Job, id backstay.InstanceID) error {
	answer, err := from.broker.Deprovision(ctx, from.deprovision(callOf(j), id))
	if err != nil || !answer.Async {
		return absentIsFine(err)
	}
	last := from.lastOperation(callOf(j), id, answer.Operation)
	return absentIsFine(m.inTime(ctx, from, j, func(ctx context.Context) error {
		op, err := m.awaitOperation(ctx, from, last, backstay.Delete)
		if err == nil && op.State == backstay.Failed {
			err = backstay.Errorf(backstay.Unavailable, "%s", op.Description)
		}
		return err
	}))
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
		err := m.Store.FinishInstance(ctx, backstay.InstanceID(j.Resource), op, InForce{}, j)
		if backstay.KindOf(err) == backstay.NotFound {
			return m.failPurged(ctx, j)
		}
		return err
	}
}

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
	last    backstay.LastOperationRequest // with the operation's key, which may be empty
	awaits  bool                          // there is an operation to wait for
	outcome backstay.Operation
	found   InForce // once the outcome is known to be a success
}

// newAsking notes what a broker has answered, and keeps the address of its dashboard if it has told one.
func (m *Market) newAsking(
	ctx context.Context, j backstay.Job, from supply, t backstay.OperationType, async bool,
	key backstay.OperationKey, dashboard string,
) (asking, error) {
	id := backstay.InstanceID(j.Resource)
	done := backstay.Operation{Type: t, State: backstay.Succeeded, Description: string(t) + " succeeded"}
	asked := asking{from: from, last: from.lastOperation(callOf(j), id, key), awaits: async || key != "", outcome: done}
	if dashboard == "" {
		return asked, nil
	}
	return asked, m.Store.KeepDashboard(ctx, id, dashboard)
}

// awaitOutcome waits for the end of what was asked for.
func (m *Market) awaitOutcome(ctx context.Context, j backstay.Job, a *asking) error {
	if !a.awaits {
		return nil
	}
	return m.inTime(ctx, a.from, j, verbs[a.outcome.Type], func(ctx context.Context) (err error) {
		a.outcome, err = awaitOperation(ctx, a.from, a.last, a.outcome.Type, m.reported(a.last.InstanceID))
		return err
	})
}

// maxPolling is how long an operation may take at a broker whose catalog names no time. Cloud Foundry waits as
// long.
const maxPolling = 7 * Day

// verbs are what a broker does to an instance, in the words of the specification.
var verbs = map[backstay.OperationType]string{
	backstay.Create: "provision", backstay.Update: "update", backstay.Delete: "deprovision",
}

// errTooLong is why an operation has failed of which the broker has not told the end in time. Cloud Controller says so.
func errTooLong(verb string) error {
	return orphaned(backstay.Errorf(backstay.Unavailable,
		"Service Broker failed to %s within the required time.", verb))
}

// inTime waits for a broker to do something, as long as the plan's operations may take (OSB 2.17,
// "maximum_polling_duration") since the job was accepted. However late it is, the broker is asked once more.
func (m *Market) inTime(
	ctx context.Context, from supply, j backstay.Job, verb string, wait func(context.Context) error,
) error {
	left := j.CreatedAt.Add(cmp.Or(from.plan.MaximumPollingDuration, maxPolling)).Sub(m.now())
	tooLong := errTooLong(verb)
	limited, cancel := context.WithTimeoutCause(ctx, max(left, time.Second), tooLong)
	defer cancel()
	err := wait(limited)
	if err != nil && context.Cause(limited) == tooLong {
		return tooLong
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
				return orphaned(failedAs(a.outcome.Type, a.outcome))
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
	sealed, copyOf, err := m.Store.InstanceParameters(ctx, in.ID)
	if err != nil {
		return asking{}, err
	}
	parameters, err := m.openParameters(parametersContext(in.ID), sealed)
	if err != nil {
		return asking{}, err
	}
	r := from.provision(callOf(j), in, at, parameters)
	r.CopyOf = copyOf
	if err := m.named(ctx, &r.Context); err != nil {
		return asking{}, err
	}
	if err := m.noteAsked(ctx, j, from.broker); err != nil {
		return asking{}, err
	}
	answer, err := from.broker.Provision(ctx, r)
	if err != nil {
		return asking{}, err
	}
	return m.newAsking(ctx, j, from, backstay.Create, answer.Async, answer.Operation, answer.DashboardURL)
}

// reporter is told what a broker says of an operation that is in progress.
type reporter func(context.Context, backstay.Operation) error

// reported records what a broker says of an instance, so that users can follow.
func (m *Market) reported(id backstay.InstanceID) reporter {
	return func(ctx context.Context, op backstay.Operation) error { return m.Store.ReportInstance(ctx, id, op) }
}

// unreported is of what users do not know of, or follow in another way.
func unreported(context.Context, backstay.Operation) error { return nil }

// awaitOperation waits until an operation of that type has ended at the broker.
func awaitOperation(
	ctx context.Context, from supply, r backstay.LastOperationRequest, t backstay.OperationType, report reporter,
) (backstay.Operation, error) {
	next := polling(ctx, func() (backstay.Operation, error) { return from.broker.LastOperation(ctx, r) })
	if a, ok := from.broker.(backstay.OperationAwaiter); ok {
		next = func(seen backstay.Operation) (backstay.Operation, error) { return a.AwaitOperation(ctx, r, seen) }
	}
	return follow(ctx, t, next, report)
}

// The pauses between two questions how an operation comes along double from the first to the longest, unless the broker
// wants a longer one.
const (
	firstPause   = time.Second
	longestPause = 15 * time.Second
)

// asker tells how an operation comes along, when there may be something else to tell than was seen.
type asker func(seen backstay.Operation) (backstay.Operation, error)

// polling is how a broker is asked that does not tell of changes itself: at once, and then again and again.
func polling(ctx context.Context, ask func() (backstay.Operation, error)) asker {
	var pause time.Duration
	return func(seen backstay.Operation) (backstay.Operation, error) {
		if err := sleep(ctx, max(pause, seen.RetryAfter)); err != nil {
			return seen, err
		}
		pause = min(max(2*pause, firstPause), longestPause)
		return ask()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow waits until an operation of that type has ended, and reports it meanwhile. A broker that cannot be asked for a
// while, or answers nonsense, is asked again: that says nothing of how the operation comes along.
func follow(
	ctx context.Context, t backstay.OperationType, next asker, report reporter,
) (backstay.Operation, error) {
	seen := backstay.Operation{Type: t, State: backstay.InProgress}
	for {
		op, err := next(seen)
		op.Type = t
		switch {
		case err != nil && !passing(ctx, err):
			return op, err
		case err != nil:
			if err := sleep(ctx, firstPause); err != nil {
				return seen, err
			}
		case op.State != backstay.InProgress:
			return op, nil
		default:
			if err := report(ctx, op); err != nil {
				return op, err
			}
			seen = op
		}
	}
}

// passing tells whether what a broker answered when it was asked for an operation says nothing of the operation.
func passing(ctx context.Context, err error) bool {
	k := backstay.KindOf(err)
	return ctx.Err() == nil && k != backstay.NotFound && k != backstay.Internal
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
	return m.deprovisionAt(ctx, from, j, id, m.reported(id))
}

func (m *Market) deprovisionAt(
	ctx context.Context, from supply, j backstay.Job, id backstay.InstanceID, report reporter,
) error {
	answer, err := from.broker.Deprovision(ctx, from.deprovision(callOf(j), id))
	if err != nil || !answer.Async {
		return absentIsFine(withLeft(err))
	}
	last := from.lastOperation(callOf(j), id, answer.Operation)
	return absentIsFine(m.inTime(ctx, from, j, verbs[backstay.Delete], func(ctx context.Context) error {
		op, err := awaitOperation(ctx, from, last, backstay.Delete, report)
		if err == nil && op.State == backstay.Failed {
			err = failedAs(backstay.Delete, op)
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
func failInstance(t backstay.OperationType) func(*Market, context.Context, backstay.Job, error) error {
	return func(m *Market, ctx context.Context, j backstay.Job, reason error) error {
		if t == backstay.Create {
			j.Next, _ = m.orphanOf(ctx, j, reason)
		}
		op := backstay.Operation{Type: t, State: backstay.Failed, Description: j.Sentence}
		err := m.Store.FinishInstance(ctx, backstay.InstanceID(j.Resource), op, InForce{}, j)
		if backstay.KindOf(err) == backstay.NotFound {
			return m.failPurged(ctx, j)
		}
		return err
	}
}

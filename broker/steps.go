package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/step"
)

// operationLimit is how long one run of an operation may wait for what the backend says may still come true, such as
// room on a disk: users can do nothing else with the instance meanwhile. The time in which the backend sees work go on
// does not count: large data takes hours to restore, to copy or to upgrade, whatever the operation is.
const operationLimit = time.Hour

// patience is the time that an operation has left.
type patience struct{ timer *time.Timer }

// withPatience returns a context that ends with errOutOfTime when an operation has waited for too long.
func withPatience(ctx context.Context) (limited context.Context, p patience, end func()) {
	limited, cancel := context.WithCancelCause(ctx)
	p.timer = time.AfterFunc(operationLimit, func() { cancel(errOutOfTime) })
	return limited, p, func() {
		p.timer.Stop()
		cancel(nil)
	}
}

// renew gives the operation all of its time again, since work goes on.
func (p patience) renew() { p.timer.Reset(operationLimit) }

// createSteps bring an instance up at a place that the backend gives it.
func (b *Broker) createSteps(in Instance, op Operation) []step.Step {
	var serves backend.Status
	return []step.Step{
		{Name: "broker.create.placed", Do: func(ctx context.Context) (err error) {
			op.Spec, err = b.place(ctx, in, op)
			return err
		}},
		{Name: "broker.create.applied", Do: func(ctx context.Context) error { return b.applyWanted(ctx, in, op) }},
		{Name: "broker.create.awaited", Do: func(ctx context.Context) (err error) {
			serves, err = b.awaitReached(ctx, in, op)
			return err
		}},
		{Name: "broker.create.recorded", Do: func(ctx context.Context) error {
			return b.Store.SucceedOperation(ctx, op.ID, serves.Message, servingAfter(op, serves))
		}},
	}
}

func servingAs(s backend.Status) Serving {
	return Serving{Endpoint: s.Endpoint, Reads: s.Reads, Build: s.Build}
}

// servingAfter is servingAs with what is to be told of the restore that the operation has asked for.
func servingAfter(op Operation, s backend.Status) Serving {
	serving := servingAs(s)
	if s.Restored.Generation == op.Generation {
		serving.Notice = s.Restored.Passed
	}
	return serving
}

// withdrawSteps end an instance that could not be created, and leave nothing of it in its backend.
func (b *Broker) withdrawSteps(in Instance, op Operation, r Refusal) []step.Step {
	return []step.Step{
		b.giveUp("broker.create.given-up", &op, r),
		{Name: "broker.create.withdrawn", Do: func(ctx context.Context) error { return b.remove(ctx, in, op) }},
		{Name: "broker.create.refused", Do: func(ctx context.Context) error {
			return b.Store.FailOperation(ctx, op.ID, op.Failure)
		}},
	}
}

// updateSteps bring an instance from what was accepted to what is wanted.
func (b *Broker) updateSteps(in Instance, op Operation) []step.Step {
	var serves backend.Status
	return []step.Step{
		{Name: "broker.update.applied", Do: func(ctx context.Context) error { return b.applyWanted(ctx, in, op) }},
		{Name: "broker.update.awaited", Do: func(ctx context.Context) (err error) {
			serves, err = b.awaitReached(ctx, in, op)
			return err
		}},
		{Name: "broker.update.backed-up", Do: func(ctx context.Context) error { return b.awaitBackup(ctx, in, op) }},
		{Name: "broker.update.users-restored", Do: func(ctx context.Context) error { return b.restoreUsers(ctx, in, op) }},
		{Name: "broker.update.drilled", Do: func(ctx context.Context) (err error) {
			serves, err = b.awaitDrill(ctx, in, op, serves)
			return err
		}},
		{Name: "broker.update.recorded", Do: func(ctx context.Context) error {
			return b.Store.SucceedOperation(ctx, op.ID, b.updated(in, op, serves), servingAfter(op, serves))
		}},
	}
}

// fallBackSteps bring back what was accepted, under a generation that is newer than the one that could not be.
// Data are not touched: what was accepted is applied again, and nothing is removed. What is given up for this
// maintenance window only then waits for the next.
func (b *Broker) fallBackSteps(in Instance, op Operation, r Refusal) []step.Step {
	return []step.Step{
		b.giveUp("broker.update.given-up", &op, r),
		{Name: "broker.update.returned", Do: func(ctx context.Context) error {
			in.Generation = op.Generation
			return b.applyAccepted(ctx, in)
		}},
		{Name: "broker.update.restored", Do: func(ctx context.Context) error {
			_, err := b.awaitReached(ctx, in, op)
			if errors.Is(err, errHopeless) {
				return nil // the operation has failed anyhow, and whoever runs the backend must help
			}
			return err
		}},
		{Name: "broker.update.refused", Do: func(ctx context.Context) error {
			return b.refuse(ctx, op, Refusal{op.Failure, op.NotBefore})
		}},
	}
}

// deleteSteps end an instance with all its data.
func (b *Broker) deleteSteps(in Instance, op Operation) []step.Step {
	return []step.Step{
		{Name: "broker.delete.archived", Do: func(ctx context.Context) error { return b.keepArchive(ctx, in) }},
		{Name: "broker.delete.asked", Do: func(ctx context.Context) error { return b.askToRemove(ctx, in) }},
		{Name: "broker.delete.condemned", Do: func(ctx context.Context) error {
			return b.Store.CondemnInstance(ctx, in.ID)
		}},
		{Name: "broker.delete.removed", Do: func(ctx context.Context) error { return b.remove(ctx, in, op) }},
		{Name: "broker.delete.recorded", Do: func(ctx context.Context) error {
			return b.Store.RemoveInstance(ctx, in.ID)
		}},
	}
}

// refuseDeleteSteps say why an instance could not be ended.
func (b *Broker) refuseDeleteSteps(_ Instance, op Operation, r Refusal) []step.Step {
	return []step.Step{{Name: "broker.delete.refused", Do: func(ctx context.Context) error {
		return b.refuse(ctx, op, r)
	}}}
}

// refuse ends an operation that cannot be. One that was asked for to be done in a maintenance window waits for the next
// one, unless it can never be.
func (b *Broker) refuse(ctx context.Context, op Operation, r Refusal) error {
	if r.Again.IsZero() || !op.Asked.isSomething() {
		return b.Store.FailOperation(ctx, op.ID, r.Reason)
	}
	return b.Store.PostponeOperation(ctx, op.ID, r)
}

// giveUp is the step that makes it durable that what an operation wants cannot be: whoever takes it up after a
// crash goes on from here.
func (b *Broker) giveUp(name string, op *Operation, r Refusal) step.Step {
	return step.Step{Name: name, Do: func(ctx context.Context) (err error) {
		*op, err = b.Store.GiveUpOperation(ctx, op.ID, r)
		return err
	}}
}

// place asks where an instance will be reached, and returns its wanted Spec with a certificate that proves that.
func (b *Broker) place(ctx context.Context, in Instance, op Operation) (sealed []byte, err error) {
	spec, err := b.wantedSpec(in, op)
	if err != nil || spec.TLS.Leaf != "" {
		return op.Spec, err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return nil, err
	}
	names, err := its.Names(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("ask for the names of the endpoint: %w", err)
	}
	if spec.TLS, err = b.Certifier.Issue(names, b.Now()); err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	if sealed, err = b.sealSpec(in.ID, spec); err != nil {
		return nil, err
	}
	return sealed, b.Store.PlaceOperation(ctx, op.ID, sealed)
}

func (b *Broker) applyWanted(ctx context.Context, in Instance, op Operation) error {
	spec, err := b.wantedSpec(in, op)
	if err != nil {
		return err
	}
	restores, err := b.restores(in, spec)
	if err != nil {
		return err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	if !restores {
		if spec.Origin, err = b.lostOrigin(ctx, its, spec); err != nil {
			return err
		}
	}
	return its.Apply(ctx, spec)
}

func (b *Broker) applyAccepted(ctx context.Context, in Instance) error {
	spec, err := b.acceptedSpec(in)
	if err != nil {
		return err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	if spec.Origin, err = b.lostOrigin(ctx, its, spec); err != nil {
		return err
	}
	return its.Apply(ctx, spec)
}

// awaitReached passes on what the backend says of an instance until the operation's generation serves. It is
// hopeless when the backend says so, or when the limit has passed.
func (b *Broker) awaitReached(ctx context.Context, in Instance, op Operation) (s backend.Status, err error) {
	its, err := b.backendOf(in)
	if err != nil {
		return s, err
	}
	limited, patience, end := withPatience(ctx)
	defer end()
	for told := op.Description; ; {
		next, err := b.awaitNext(limited, its, in, op, s)
		if errors.Is(err, errOutOfTime) {
			return s, fmt.Errorf("%w: %w", err, backstay.Errorf(backstay.Unavailable,
				"The service instance has not come up for too long. %s", told))
		}
		if err != nil || next.Generation >= op.Generation && next.Phase == backend.Running {
			return next, err
		}
		if !next.Worked.Equal(s.Worked) {
			patience.renew()
		}
		s = next
		sentence := s.Message
		if o := s.Obstacle; o.Generation == op.Generation {
			if sentence = o.Sentence; o.Final {
				return s, hopeless("%s", sentence)
			}
		}
		if op.Failure == "" && sentence != told {
			told = sentence
			if err := b.Store.ReportOperation(ctx, op.ID, told); err != nil {
				return s, err
			}
		}
	}
}

// awaitNext returns the status of an instance after s, or errOutOfTime when ctx's limit has passed. An operation for a
// maintenance window that is not under way, but waits for something, has time until the window closes.
func (b *Broker) awaitNext(
	ctx context.Context, its backend.Backend, in Instance, op Operation, s backend.Status,
) (backend.Status, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if op.inWindow() && op.Failure == "" && s.Obstacle.Generation == op.Generation {
		limited, cancel = context.WithTimeoutCause(ctx, b.endOfWindow(in).Sub(b.Now()), errOutOfTime)
	}
	defer cancel()
	next, err := its.Await(limited, in.ID, s.Revision)
	if err != nil && context.Cause(limited) == errOutOfTime {
		return next, errOutOfTime
	}
	return next, err
}

func hopeless(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errHopeless, backstay.Errorf(backstay.Unavailable, format, args...))
}

// askToRemove makes it the backend's wish that nothing of an instance is left. A backend without a record of it
// would not know what to remove: it is told of the instance first, if the ledger knows where that served.
func (b *Broker) askToRemove(ctx context.Context, in Instance) error {
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	refused := its.Remove(ctx, in.ID)
	if refused == nil || in.Spec == nil || in.Endpoint == (backstay.Endpoint{}) {
		return absentIsFine(refused)
	}
	held, err := its.Held(ctx)
	if err != nil {
		return err
	}
	if _, known := held[in.ID]; known {
		return refused
	}
	if err := b.applyAccepted(ctx, in); err != nil {
		return err
	}
	return absentIsFine(its.Remove(ctx, in.ID))
}

// remove ends an instance in its backend and waits until nothing is left of it. Of what that waits for, as for a
// repository that takes the last backup, the operation tells.
func (b *Broker) remove(ctx context.Context, in Instance, op Operation) error {
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	if err := its.Remove(ctx, in.ID); err != nil {
		return absentIsFine(err)
	}
	told := op.Description
	for revision := int64(0); ; {
		s, err := its.Await(ctx, in.ID, revision)
		if err != nil {
			return absentIsFine(err)
		}
		revision = s.Revision
		if s.Phase == backend.Removing && s.Message != told && op.Type == backstay.Delete {
			told = s.Message
			if err := b.Store.ReportOperation(ctx, op.ID, told); err != nil {
				return err
			}
		}
	}
}

func absentIsFine(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/wait"
)

// work is how an operation of one type is done.
type work struct {
	// steps bring about what is wanted.
	steps func(b *Broker, in Instance, op Operation) []step.Step
	// undo is done when that cannot be, for the given reason: it leaves the instance as it was before, and
	// the operation failed.
	undo func(b *Broker, in Instance, op Operation, r Refusal) []step.Step
}

// works is what this broker can do. An operation of another type is refused.
var works = map[backstay.OperationType]work{
	backstay.Create: {(*Broker).createSteps, (*Broker).withdrawSteps},
	backstay.Update: {(*Broker).updateSteps, (*Broker).fallBackSteps},
	backstay.Delete: {(*Broker).deleteSteps, (*Broker).refuseDeleteSteps},
}

// StepNames lists every step of every operation: where a process may die in the middle of one.
func StepNames() []string {
	var b *Broker
	var names []string
	for _, w := range works {
		names = append(names, step.Names(w.steps(b, Instance{}, Operation{}))...)
		names = append(names, step.Names(w.undo(b, Instance{}, Operation{}, Refusal{}))...)
	}
	names = append(names, step.Names(b.bindSteps(Instance{}, backstay.BindRequest{}, nil))...)
	return append(names, step.Names(b.unbindSteps(Instance{}, Binding{}))...)
}

// Work sees an operation through, from its beginning: steps already done do nothing again. It returns an
// error if it is to be tried again; last says that it will not be. An operation that has ended, because another
// one has taken its place or in any other way, is nobody's work any more.
//
// It takes the instance's turn before it reads what the ledger says of the operation: until then another
// operation may be at work, and may be the one that has replaced this one.
func (b *Broker) Work(ctx context.Context, in backstay.InstanceID, id backstay.OperationKey, last bool) error {
	release, err := b.turns.take(ctx, in)
	if err != nil {
		return err
	}
	defer release()
	op, err := b.Store.Operation(ctx, id)
	if err == nil && op.State != backstay.InProgress || backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	if err == nil {
		err = b.perform(ctx, op, last)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	b.Log.Warn("operation did not succeed", "instance", in, "operation", op.Type, "last", last, "error", err)
	if last {
		return b.end(ctx, id, err)
	}
	if backstay.KindOf(err) != backstay.Internal {
		return errors.Join(err, b.Store.ReportOperation(ctx, id, backstay.SentenceOf(err)))
	}
	return err
}

// end records that an operation is not tried any more, or not before the next maintenance window, whatever could not
// be done of it. What was accepted is brought back by the reconciler then.
func (b *Broker) end(ctx context.Context, id backstay.OperationKey, failure error) error {
	op, err := b.Store.Operation(ctx, id)
	if err != nil {
		return err
	}
	r := Refusal{op.Failure, op.NotBefore}
	if op.Failure == "" {
		in, err := b.Store.Instance(ctx, op.InstanceID)
		if err != nil {
			return err
		}
		r = b.refusal(in, op, failure)
	}
	return b.refuse(ctx, op, r)
}

// perform does an operation, or undoes it. It returns nil when another one has taken its place.
func (b *Broker) perform(ctx context.Context, op Operation, last bool) error {
	w, known := works[op.Type]
	if !known {
		return backstay.Errorf(backstay.Unsupported, "This version of Backstay knows no operation %q.", op.Type)
	}
	in, err := b.Store.Instance(ctx, op.InstanceID)
	if err != nil {
		return err
	}
	mine, done := b.untilReplaced(ctx, op)
	defer done()
	r := Refusal{op.Failure, op.NotBefore}
	if op.Failure == "" {
		err = step.Run(mine, w.steps(b, in, op)...)
		r = b.refusal(in, op, err)
	}
	if op.Failure != "" || err != nil && mine.Err() == nil && (last || isHopeless(err)) {
		err = step.Run(mine, w.undo(b, in, op, r)...)
	}
	if mine.Err() != nil {
		return ctx.Err()
	}
	return err
}

// refusal is what is made of the error of an operation that is given up. What was asked for to be done in a maintenance
// window may be tried in the next one, unless the error says that it can never be.
func (b *Broker) refusal(in Instance, op Operation, err error) Refusal {
	r := Refusal{Reason: backstay.SentenceOf(err)}
	if op.isOurs() || op.inWindow() && (!isHopeless(err) || errors.Is(err, errOutOfTime)) {
		r.Again = b.endOfWindow(in)
	}
	return r
}

// endOfWindow is when the maintenance window of an instance closes that is open; now, if none is.
func (b *Broker) endOfWindow(in Instance) time.Time {
	now := b.Now()
	opens, closes := b.windowsOf(in.ID, in.ServiceID, in.Windows).Maintenance.Next(now)
	if now.Before(opens) {
		return now
	}
	return closes
}

// untilReplaced returns a context that ends when another operation has taken the place of this one.
func (b *Broker) untilReplaced(ctx context.Context, op Operation) (mine context.Context, done func()) {
	mine, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		err := wait.Until(mine, wait.Every(time.Second), func() (again bool, err error) {
			err = b.Store.AwaitReplacement(mine, op)
			return err != nil, err
		})
		if err == nil {
			cancel()
		}
	})
	return mine, func() {
		cancel()
		watch.Wait()
	}
}

// errHopeless is that of what trying again cannot help, and errOutOfTime that of what it may help another time.
var (
	errHopeless  = errors.New("it is given up")
	errOutOfTime = fmt.Errorf("%w for now", errHopeless)
)

func isHopeless(err error) bool {
	switch backstay.KindOf(err) {
	case backstay.Invalid, backstay.Unsupported:
		return true
	}
	return errors.Is(err, errHopeless)
}

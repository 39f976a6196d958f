package broker

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/step"
)

// patience is how long a new instance may fail to come up before its creation is given up: long
// enough for the backend to try a few times, short enough for someone who waits.
const patience = 3 * time.Second

// StepNames lists every step of every operation: where a process may die in the middle of one.
func StepNames() []string {
	var b *Broker
	var names []string
	names = append(names, step.Names(b.createSteps(Instance{}))...)
	names = append(names, step.Names(b.withdrawSteps(Instance{}, ""))...)
	names = append(names, step.Names(b.deleteSteps(Instance{}))...)
	names = append(names, step.Names(b.bindSteps(backstay.BindRequest{}, nil))...)
	return append(names, step.Names(b.unbindSteps(Binding{}))...)
}

// Work sees an instance's operation through, from its beginning: steps already done do nothing
// again. It returns an error if it is to be tried again; last says that it will not be. An
// operation that another one has replaced is nobody's work any more.
func (b *Broker) Work(ctx context.Context, id backstay.InstanceID, operationID string, last bool) error {
	in, err := b.Store.Instance(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	if err != nil || in.OperationID != operationID || in.Operation.State != backstay.InProgress {
		return err
	}
	r, turn := b.supersede(ctx, id)
	defer r.end()
	if in.Operation.Type == backstay.Delete {
		err = step.Run(turn, b.deleteSteps(in)...)
	} else {
		err = b.create(turn, in)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if turn.Err() != nil {
		return nil
	}
	b.Log.Warn("operation did not succeed", "instance", id, "operation", in.Operation.Type, "last", last, "error", err)
	if !last {
		return err
	}
	return b.Store.ReportOperation(ctx, id, operationID, ended(in.Operation.Type, backstay.Failed, backstay.SentenceOf(err)))
}

// run is one operation that Work is at. A later one of the same instance cancels it and waits for
// its end, so that nothing the earlier one does comes after what the later one did.
type run struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *run) end() {
	r.cancel()
	close(r.done)
}

// supersede ends the run that is at the instance, if any, and begins another under the returned context.
func (b *Broker) supersede(ctx context.Context, id backstay.InstanceID) (*run, context.Context) {
	turn, cancel := context.WithCancel(ctx)
	r := &run{cancel: cancel, done: make(chan struct{})}
	b.mu.Lock()
	earlier := b.runs[id]
	if b.runs == nil {
		b.runs = map[backstay.InstanceID]*run{}
	}
	b.runs[id] = r
	b.mu.Unlock()
	if earlier != nil {
		earlier.cancel()
		<-earlier.done
	}
	context.AfterFunc(turn, func() { b.forget(id, r) })
	return r, turn
}

func (b *Broker) forget(id backstay.InstanceID, r *run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs[id] == r {
		delete(b.runs, id)
	}
}

func ended(t backstay.OperationType, s backstay.OperationState, description string) backstay.Operation {
	return backstay.Operation{Type: t, State: s, Description: description}
}

// create brings an instance up, or takes it back when it cannot come up.
func (b *Broker) create(ctx context.Context, in Instance) error {
	err := step.Run(ctx, b.createSteps(in)...)
	if err == nil || backstay.KindOf(err) == backstay.Internal || ctx.Err() != nil {
		return err
	}
	return step.Run(ctx, b.withdrawSteps(in, backstay.SentenceOf(err))...)
}

func (b *Broker) createSteps(in Instance) []step.Step {
	var available string // what the backend says of it
	return []step.Step{
		{Name: "broker.create.applied", Do: func(ctx context.Context) error {
			spec, err := b.openSpec(in)
			if err != nil {
				return err
			}
			return b.Backend.Apply(ctx, spec)
		}},
		{Name: "broker.create.awaited", Do: func(ctx context.Context) (err error) {
			available, err = b.awaitRunning(ctx, in)
			return err
		}},
		{Name: "broker.create.recorded", Do: func(ctx context.Context) error {
			return b.Store.ReportOperation(ctx, in.ID, in.OperationID, ended(backstay.Create, backstay.Succeeded, available))
		}},
	}
}

// withdrawSteps end an instance that could not be created, and say why.
func (b *Broker) withdrawSteps(in Instance, reason string) []step.Step {
	return []step.Step{
		{Name: "broker.create.withdrawn", Do: func(ctx context.Context) error { return b.remove(ctx, in.ID) }},
		{Name: "broker.create.refused", Do: func(ctx context.Context) error {
			return b.Store.ReportOperation(ctx, in.ID, in.OperationID, ended(backstay.Create, backstay.Failed, reason))
		}},
	}
}

func (b *Broker) deleteSteps(in Instance) []step.Step {
	return []step.Step{
		{Name: "broker.delete.removed", Do: func(ctx context.Context) error { return b.remove(ctx, in.ID) }},
		{Name: "broker.delete.recorded", Do: func(ctx context.Context) error { return b.Store.RemoveInstance(ctx, in.ID) }},
	}
}

// remove ends an instance in the backend and waits until nothing is left of it.
func (b *Broker) remove(ctx context.Context, id backstay.InstanceID) error {
	if err := b.Backend.Remove(ctx, id); err != nil {
		return absentIsFine(err)
	}
	var s backend.Status
	for {
		next, err := b.Backend.Await(ctx, id, s.Revision)
		if err != nil {
			return absentIsFine(err)
		}
		s = next
	}
}

func absentIsFine(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

// awaitRunning passes on what the backend says of the instance until clients are served. One that
// keeps failing for longer than our patience is Unavailable, with the backend's reason.
func (b *Broker) awaitRunning(ctx context.Context, in Instance) (available string, err error) {
	var s backend.Status
	var giveUp time.Time // zero while it is not failing
	for {
		next, err := b.awaitUntil(ctx, in.ID, s, giveUp)
		switch {
		case err != nil:
			return "", err
		case next.Generation >= 1 && next.Phase == backend.Running:
			return next.Message, nil
		case next.Phase == backend.Failing && giveUp.IsZero():
			giveUp = time.Now().Add(patience)
		case !giveUp.IsZero() && time.Now().After(giveUp):
			return "", backstay.Errorf(backstay.Unavailable, "%s", s.Message)
		}
		if next.Message != s.Message && next.Phase != backend.Failing {
			op := backstay.Operation{Type: backstay.Create, State: backstay.InProgress, Description: next.Message}
			if err := b.Store.ReportOperation(ctx, in.ID, in.OperationID, op); err != nil {
				return "", err
			}
		}
		s = next
	}
}

// awaitUntil waits for the next status, or returns the last one when the time to give up has come.
func (b *Broker) awaitUntil(ctx context.Context, id backstay.InstanceID, last backend.Status, giveUp time.Time) (backend.Status, error) {
	if giveUp.IsZero() {
		return b.Backend.Await(ctx, id, last.Revision)
	}
	limited, cancel := context.WithDeadline(ctx, giveUp)
	defer cancel()
	next, err := b.Backend.Await(limited, id, last.Revision)
	if limited.Err() != nil && ctx.Err() == nil {
		return last, nil
	}
	return next, err
}

package instance

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
)

// isLate tells whether nobody waits for the standbys of the engine: what was acknowledged in the last moment may be
// lost with the primary.
func (in *Instance) isLate() bool {
	_, late := in.m.Engines[in.Record().Spec.Engine].(engine.Asynchronous)
	return late
}

// whyLost is why the primary has ended, and what that may cost.
func (in *Instance) whyLost() string {
	why := in.whyEnded()
	switch {
	case !in.isLate():
	case in.seen.second.followed:
		why += " What was written in the last moment before may be lost."
	default: // it would not be ready after a minute
		why += " What was written in the last minute before may be lost."
	}
	return why
}

// replace makes the second the primary, which has ended, if it is ready for that. If not, the primary is started again.
func (in *Instance) replace(ctx context.Context) error {
	if late, ok := in.m.Engines[in.Record().Spec.Engine].(engine.Asynchronous); ok {
		if ready, err := in.isReady(ctx, late); !ready {
			return err
		}
	}
	return step.Run(ctx, in.promoteSteps(takeover{why: in.whyLost()})...)
}

// readyPatience is how long the second may take to be ready to take over, before the primary is started again instead.
const readyPatience = 2 * time.Second

// isReady asks the second, which is in step as far as the record knows, whether it would lack no more than a moment.
// One that would is in step no more.
func (in *Instance) isReady(ctx context.Context, e engine.Asynchronous) (bool, error) {
	s := &in.seen.second
	limited, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	err := e.Ready(limited, s.node.Node)
	select {
	case <-s.process.Done():
		err = in.explainSecond()
	default:
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return err == nil, err
	case errors.Is(err, engine.ErrBehind):
		in.log.Warn("a standby does not take over, as it would lack far more than a moment", "error", err)
		return false, in.amendAlone(func(r *Record) { r.InStep = time.Time{} })
	}
	in.failSecond(toPromote, err)
	return false, nil
}

var errBack error = backstay.Errorf(backstay.Unavailable, "The data that was missing is back.")

// concedeSteps make the second the primary though it may lack what was written since it followed last: the primary's
// data is gone.
func (in *Instance) concedeSteps() []step.Step {
	return append([]step.Step{{Name: "keeper.conceded", Do: func(context.Context) error {
		r := in.Record()
		n, err := in.m.node(r, r.spec(r.Started))
		if err != nil {
			return err
		}
		if err := in.wantData(n); !isMissing(err) { // what is back is started
			in.seen.missing = time.Time{}
			return cmp.Or[error](err, errBack)
		}
		in.log.Warn("the data of a primary is gone; its standby takes over with what it has")
		return in.m.Engines[r.Spec.Engine].(engine.Asynchronous).Concede(in.seen.second.node.Node)
	}}}, in.promoteSteps(takeover{conceded: true, why: "The primary's data is gone, and its standby did not follow it " +
		"to the end. What was written since it did is lost."})...)
}

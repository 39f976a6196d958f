package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
)

// takeover is why and how the second becomes the primary.
type takeover struct {
	why      string
	planned  bool
	conceded bool // that it lacks something
}

// promoteSteps make the second, which lacks nothing that was acknowledged, the primary. Before the record says so, all
// processes of the one before have ended, and its data is fenced: whoever starts a server with that gets one that takes
// no writes. From then on, a keeper that comes by goes on from awaitSteps.
func (in *Instance) promoteSteps(t takeover) []step.Step {
	return []step.Step{
		{Name: "keeper.fenced", Do: func(ctx context.Context) error {
			in.enter(backend.Starting, "The primary has ended. Its standby takes over.")
			in.cutFront(ctx)
			return in.fence()
		}},
		{Name: "keeper.failed-over", Do: func(context.Context) error {
			err := in.noteTakeover(t)
			if err == nil {
				in.takeOver()
				in.tellFlapping()
			}
			return err
		}},
		{Name: "keeper.promoted", Do: in.promote},
	}
}

var errNotInStep error = backstay.Errorf(backstay.Unavailable, "The standby is not in step any more.")

// noteTakeover has the record say that the second serves, unless it was noted meanwhile that it lacks something. What
// was the primary goes on then, though it is fenced.
func (in *Instance) noteTakeover(t takeover) error {
	in.write.Lock()
	defer in.write.Unlock()
	if in.Record().InStep.IsZero() && !t.conceded {
		return errNotInStep
	}
	return in.amend(func(r *Record) { r.failOver(t.why, t.planned, in.m.Now()) })
}

// handOverSteps end the primary once the second lacks nothing, and make that the primary. Clients that come meanwhile
// are held before the end: none is refused. Nothing has happened before that.
func (in *Instance) handOverSteps(during context.Context, why string) []step.Step {
	steps := append(in.drillSteps(in.handsOverTo), []step.Step{
		{Name: "keeper.handed-over", Do: func(ctx context.Context) error {
			e, err := in.replicator()
			if err != nil {
				return err
			}
			if in.Record().InStep.IsZero() { // who writes in a drill could not be made known to it
				return errNotInStep
			}
			if _, err := in.settle(during, "before the standby takes over"); err != nil {
				return err
			}
			if err := in.openFront(ctx, in.Record().Second.Started); err != nil { // another one, if the plan is larger
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, handOverPatience)
			defer cancel()
			return e.HandOver(ctx, in.seen.node.Node, in.seen.second.node.Node)
		}},
		{Name: "keeper.primary-ended", Do: func(ctx context.Context) error {
			in.holdFront(ctx)
			in.seen.leave()
			in.seen.leave = func() {}
			in.seen.serves = false // should it not end, it is served once more
			return in.seen.node.EndWithin(endPatience, in.seen.process)
		}},
	}...)
	return append(steps, in.promoteSteps(takeover{why: why, planned: true})...)
}

// handOverPatience is how long the primary may take to be ready for its end.
const handOverPatience = 10 * time.Second

// fence ends what the primary has left, and fences its data. Where its disk is gone, or answers nothing but errors,
// there is nothing to fence: no server comes up there. If the disk works again one day, the record says that the data
// is not the primary's. Where its disk hangs, what was begun there comes to its end when the disk answers again.
func (in *Instance) fence() error {
	r := in.Record()
	n, err := in.m.node(r, r.spec(r.Started))
	if err != nil {
		return err
	}
	if err := n.StrikeRemnants(); err != nil {
		return err
	}
	e, err := in.replicator()
	if err != nil {
		return err
	}
	patience := node.AnswerPatience()
	if in.isHung(r.Place) {
		patience = hungFencePatience
	}
	err = in.onDisk(r.Place, patience, func() error {
		if _, err := os.Lstat(n.DataDir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return e.Fence(n.Node)
	})
	switch {
	case isLost(err), errors.Is(err, errHung):
		in.log.Warn("the data of a primary that has ended is not fenced, because its disk does not work", "error", err)
	case err != nil:
		return fmt.Errorf("fence the data of a primary that has ended: %w", err)
	}
	return nil
}

// isLost tells whether an error is that of a disk, or of a file system, that does not work any more.
func isLost(err error) bool {
	for _, lost := range []error{
		unix.EIO, unix.EROFS, unix.ENODEV, unix.ENXIO, unix.ESTALE, unix.EUCLEAN, unix.EBADMSG, unix.ESHUTDOWN,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// hungFencePatience is how long the data may take to be fenced that lies on a disk which does not answer.
const hungFencePatience = 100 * time.Millisecond

// takeOver makes the second's process that of the node which serves, as the record says it.
func (in *Instance) takeOver() {
	s := &in.seen
	r := in.Record()
	n, err := in.m.node(r, r.spec(r.Started))
	if err != nil {
		in.log.Error("a standby that takes over is looked for again", "error", err)
		in.lose()
		return
	}
	n.Program, n.Found = s.second.node.Program, s.second.node.Found
	p := s.second.process
	s.second.forgetReads()
	s.second, s.fell.why = secondSight{released: true}, ""
	in.take(n, p)
	s.looked, s.failures, s.laid = true, 0, in.versionOfData(n)
}

// promoteWhenUp has the engine promote the node that serves, as soon as that answers.
func (in *Instance) promoteWhenUp(ctx context.Context, e engine.Replicator) error {
	ended := in.seen.process.Done()
	var d node.Diagnosis
	return wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		err = e.Promote(ctx, in.seen.node.Node)
		if late, ok := e.(engine.Asynchronous); ok && errors.Is(err, engine.ErrBehind) {
			in.log.Warn("what is to serve may lack what was written last: it was started anew before it was promoted")
			if err = late.Concede(in.seen.node.Node); err == nil {
				return true, engine.ErrBehind
			}
		}
		select {
		case <-ended:
			return false, in.explain()
		default:
		}
		again = backstay.KindOf(err) == backstay.Unavailable && !node.IsStopped(in.seen.process.PID) && !d.IsFinal(err)
		return again, err
	})
}

// promote makes the node that serves the primary, if it is not: it was the second, or was fenced by a keeper that died
// before it noted that the second takes over.
func (in *Instance) promote(ctx context.Context) error {
	r := in.Record()
	if r.Second == nil && !r.Promoting {
		return nil
	}
	e, err := in.replicator()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, awaitPatience)
	defer cancel()
	if err := in.promoteWhenUp(limited, e); err != nil {
		return err
	}
	if !r.Promoting {
		return nil
	}
	err = in.amendAlone(func(r *Record) {
		if r.Promoting = false; r.Failover != nil {
			done := *r.Failover
			done.Took = in.m.Now().Sub(done.At)
			r.Failover = &done
		}
	})
	if f := in.Record().Failover; err == nil && f != nil {
		in.log.Warn("a standby has taken over", "node", r.Place.name(), "why", f.Why, "took", f.Took)
	}
	return err
}

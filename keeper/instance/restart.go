package instance

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// endPatience is how long the end of a process may keep its clients waiting where it has nothing more to write than
// what a moment brings: then it is killed, which loses nothing. Sessions that do not end cannot stretch it.
const endPatience = 10 * time.Second

// transition is how a process comes to another generation.
type transition struct {
	node    node.Node // as the generation wants it, where that takes no restart
	restart bool
	missed  bool // it answers nobody: there is no reason to wait with the restart
}

// changeSteps bring the process to another generation. What can be put in force while it runs is. If the rest takes a
// restart, or one is wanted, that is noted: see restartSteps, and where a second stands by, goesAhead.
func (in *Instance) changeSteps(generation int64) []step.Step {
	var t transition
	return []step.Step{
		{Name: "keeper.reloaded", Do: func(ctx context.Context) (err error) {
			t, err = in.reload(ctx, generation)
			return err
		}},
		{Name: "keeper.changed", Do: func(context.Context) error {
			if t.restart {
				if in.seen.restart, in.seen.found = generation, in.m.Now(); t.missed {
					in.seen.found = time.Time{}
				}
				return nil
			}
			err := in.amendAlone(func(r *Record) {
				before := r.spec(r.Started)
				r.begin(generation)
				r.keepFollowers(before)
			})
			if err != nil {
				return err
			}
			in.seen.node = t.node
			in.seen.node.Limit(in.log)
			in.seen.awaited, in.seen.answers, in.seen.serves = false, false, false // it is asked once more
			return nil
		}},
	}
}

// restartSteps end the process, so that another one is started with the generation. It first writes what it has
// changed, while it serves. The wait for that ends when another wish comes, which during tells; nothing has happened
// until then.
func (in *Instance) restartSteps(during context.Context, generation int64) []step.Step {
	var settled bool // there is next to nothing to write at the end of the process
	steps := []step.Step{
		{Name: "keeper.room-to-start", Do: func(context.Context) error { return in.wantRoomToStart() }},
	}
	steps = append(steps, in.drillSteps(func() int64 { return generation })...) // it does not wait for room
	return append(steps, []step.Step{
		{Name: "keeper.settled", Do: func(context.Context) (err error) {
			if settled = !in.seen.answers || !in.seen.silent.IsZero(); !settled {
				settled, err = in.settle(during, "before the restart")
			}
			return err
		}},
		{Name: "keeper.process-ended", Do: func(context.Context) error {
			return in.endForChange(generation, settled)
		}},
	}...)
}

// reload puts the generation in force without a restart, as far as that is possible. A process that answers nobody, or
// has not come up, is restarted: nobody misses it.
func (in *Instance) reload(ctx context.Context, generation int64) (t transition, err error) {
	reloader, ok := in.seen.node.Engine.(engine.Reloader)
	switch {
	case !in.seen.answers:
		return transition{restart: true, missed: true}, nil
	case !ok || in.Record().way(generation, in.seen.laid) != asItIs:
		return transition{restart: true}, nil
	}
	silent := !in.seen.silent.IsZero()
	if err := in.askNow(ctx); err != nil {
		if silent { // twice
			return transition{restart: true, missed: true}, nil
		}
		return t, err
	}
	if t.node, err = in.nodeOf(ctx, generation); err != nil {
		return t, err
	}
	if t.node.Installation != in.seen.node.Installation || t.node.RunDir != in.seen.node.RunDir {
		return transition{restart: true}, nil // it is to listen elsewhere too: a front comes before it, or goes
	}
	ctx, cancel := context.WithTimeout(ctx, awaitPatience)
	defer cancel()
	in.seen.node.Widen(t.node.Limits, in.log)
	err = in.guarded.configure(t.node, func(n engine.Node) (err error) {
		t.restart, err = reloader.Reload(ctx, n)
		return err
	})
	t.restart = t.restart || in.Record().asksForRestart(generation)
	in.log.Info("settings were put in force", "generation", generation, "restart", t.restart, "error", err)
	return t, err
}

// settle has the engine write what it has changed while clients are served, for as long as its end may take at the
// most. It reports whether that is done; if not, the restart takes longer, and goes on all the same. The error is that
// another wish has come.
func (in *Instance) settle(during context.Context, before string) (done bool, err error) {
	n := in.seen.node
	settler, ok := n.Engine.(engine.Settler)
	if !ok {
		return true, nil
	}
	in.report(func(st *backend.Status) { st.Message = "Waiting for a checkpoint " + before + "." })
	ctx, cancel := context.WithTimeout(during, n.Engine.Ending(n.Node).Grace)
	defer cancel()
	began := in.m.Now()
	err = settler.Settle(ctx, n.Node)
	if during.Err() != nil {
		in.report(func(st *backend.Status) { st.Message = n.Describe(in.Record().Spec.Engine) })
		return false, context.Cause(during)
	}
	in.log.Info("an engine was settled before its restart", "took", in.m.Now().Sub(began), "error", err)
	return err == nil, nil
}

// wantRoomToStart refuses to end an engine that serves while the disk below its volume does not give what it writes at
// a start: it would not come up until there is room. Where it is the volume that is full, room is made at the start.
func (in *Instance) wantRoomToStart() error {
	r, known := in.room()
	if !in.seen.answers || !known || r.watched || !r.isShort() || r.free >= shortSpent {
		return nil
	}
	return backstay.Errorf(backstay.Unavailable, "The operator's disk is full: the database is not started again, which "+
		"this change takes, until there is room. It serves as before.")
}

// endForChange ends the process, so that another one is started with the generation.
func (in *Instance) endForChange(generation int64, settled bool) error {
	in.seen.leave()
	in.seen.leave = func() {}
	in.enter(backend.Starting, "The engine is started again, %s.", in.whyRestart(generation))
	if s := &in.seen.second; s.process == nil { // with which the generation may not have started before the primary had
		s.failures, s.retry = 0, time.Time{}
	}
	patience := in.seen.node.Patience()
	if settled {
		patience = min(patience, endPatience)
	}
	if err := in.seen.node.EndWithin(patience, in.seen.process); err != nil {
		return err
	}
	in.lose()
	return nil
}

// whyRestart says why the generation takes a restart, as what comes behind a comma.
func (in *Instance) whyRestart(generation int64) string {
	r := in.Record()
	switch build := r.spec(generation).Build; {
	case r.way(generation, in.seen.laid) == byExchange:
		return "with the data that was restored"
	case r.way(generation, in.seen.laid) != asItIs:
		return "with another version"
	case r.asksForRestart(generation):
		return "as it was asked for"
	case build != "" && build != r.Installation.FullVersion:
		return "with version " + build
	}
	return "because its settings have changed"
}

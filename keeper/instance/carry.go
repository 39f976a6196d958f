package instance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

const (
	awaitPatience   = time.Minute     // that an engine which comes up may not answer until that is told as a failure
	preparePatience = 5 * time.Minute // that preparing may take, on a disk that is slow or does not answer
)

// carryOut does what decide has said. It returns early, with errAnotherWish, when the wish is not w any more
// and nothing is lost by that.
func (in *Instance) carryOut(ctx context.Context, w wish, a action) error {
	during, cancel := in.while(ctx, w)
	defer cancel()
	err := in.do(ctx, during, a)
	if err != nil && errors.Is(context.Cause(during), errAnotherWish) {
		err = errors.Join(errAnotherWish, err)
	}
	return err
}

// do does what decide has said. What is done under the context during may end in the middle.
func (in *Instance) do(ctx, during context.Context, a action) error {
	switch a.verb {
	case toRest:
		return in.rest(during, a.until)
	case toAsk:
		return in.ask(during)
	case toLook:
		return in.look(ctx)
	case toSize:
		return in.resize(ctx)
	case toKill:
		return in.kill(ctx)
	case toStart:
		return step.Run(during, in.startSteps(a.generation)...)
	case toAwait:
		return step.Run(during, in.awaitSteps()...)
	case toDrop:
		return step.Run(during, in.dropSteps()...)
	case toReach:
		return step.Run(ctx, in.reachSteps(ctx)...)
	case toCheck:
		return step.Run(during, in.checkSteps(a.generation)...)
	case toChange:
		return step.Run(ctx, in.changeSteps(a.generation)...)
	case toRestart:
		return step.Run(ctx, in.restartSteps(during, a.generation)...)
	case toUpgrade:
		return step.Run(during, in.upgradeSteps(a.generation)...)
	case toReturn:
		return step.Run(ctx, in.returnSteps(a.generation)...)
	case toRestore:
		in.beginRestore(ctx, wish{generation: a.generation})
		return nil
	case toExchange:
		return step.Run(ctx, in.exchangeSteps(a.generation)...)
	case toTidy:
		return step.Run(ctx, in.tidySteps()...)
	case toFront:
		return in.openFront(ctx, in.Record().Started)
	case toRoute:
		return step.Run(ctx, in.routeSteps()...)
	case toCopy:
		in.makeSecond(ctx)
		return nil
	case toFollow, toSee, toProtect, toExpose, toLeave, toDisband:
		if err := in.attendSecond(ctx, a); err != nil && ctx.Err() == nil {
			in.failSecond(a.verb, err)
		}
		return nil
	case toPromote:
		return in.replace(ctx)
	case toConcede:
		return step.Run(ctx, in.concedeSteps()...)
	case toHandOver:
		return step.Run(ctx, in.handOverSteps(during, in.whyHandedOver())...)
	case toRemove:
		return step.Run(ctx, in.removeSteps()...)
	}
	return fmt.Errorf("nobody knows how to %s", a.verb)
}

// rest waits until something happens.
func (in *Instance) rest(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(until.Sub(in.m.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-in.seen.restoring.ended():
		return nil
	case <-in.seen.second.making.ended():
		return nil
	case <-in.seen.second.catching.ended():
		return nil
	case <-endOf(in.seen.second.process):
		in.failSecond(toRest, in.explainSecond())
		return nil
	case <-endOf(in.seen.front):
		in.log.Warn("a front has ended, and its sessions with it; another one is started")
		in.loseFront()
		return nil
	case <-endOf(in.seen.reading.front):
		in.log.Warn("a front for reads has ended, and its sessions with it; another one is started")
		in.loseReadFront()
		return nil
	case <-in.woken:
		return nil
	case <-endOf(in.seen.process):
		return in.explain()
	case err := <-in.seen.stuck:
		return errors.Join(err, in.seen.node.Kill(in.seen.process))
	case err := <-in.seen.filled:
		return errors.Join(err, in.seen.node.Kill(in.seen.process))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// look mounts the volume, and finds the process that an earlier keeper, or a start that failed, has left. Where the
// volume cannot be mounted, processes are looked for all the same if the second may take over: whether the primary has
// ended is known then, and nothing is started before the volume is there.
func (in *Instance) look(ctx context.Context) error {
	unmounted := in.mountVolume(ctx)
	r := in.Record()
	if unmounted != nil && !r.hasSpare() {
		return unmounted
	}
	n, err := in.m.node(r, r.spec(r.Started))
	if err != nil {
		return errors.Join(unmounted, err)
	}
	p, err := n.Find()
	if err != nil {
		return errors.Join(unmounted, err)
	}
	if err := in.findSecond(); err != nil {
		return errors.Join(unmounted, err)
	}
	if errors.Is(unmounted, errHung) {
		if p, err = in.strikeFound(ctx, n, p); err != nil {
			return err
		}
	}
	if in.seen.looked = true; unmounted == nil {
		in.seen.laid = in.versionOfData(n)
	}
	in.gauge()
	if p != nil {
		n.Found, n.Full = true, in.guarded.isFull()
		n.Gather(p.PID, in.log)
		in.take(n, p)
		in.seen.lived = r.Reached > 0
	}
	return unmounted
}

// take makes a process the instance's.
func (in *Instance) take(n node.Node, p *process.Process) {
	s := &in.seen
	s.node, s.process, s.lived, s.awaited, s.answers, s.serves = n, p, false, false, false, false
	s.restart = 0
	s.silent, s.mute, s.stopped, s.busy = time.Time{}, time.Time{}, false, false
	s.missing, s.damaged, s.ruined = time.Time{}, time.Time{}, false
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pid = p.PID
}

// lose forgets the process, which has ended. What it has left is looked for before another one is started.
func (in *Instance) lose() {
	s := &in.seen
	s.leave()
	s.leave = func() {}
	in.cutFront(context.Background())
	if s.process != nil {
		s.process.Close()
	}
	s.process, s.stuck, s.filled, s.restart = nil, nil, nil, 0
	s.looked, s.lived, s.awaited, s.answers, s.serves = false, false, false, false, false
	s.silent, s.mute, s.damaged, s.stopped, s.busy = time.Time{}, time.Time{}, time.Time{}, false, false
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pid = 0
}

// installation is what a Spec is to run from. The one that the process runs from is kept where it will do,
// so that a change need not restart it. Where the Spec names no build, what has served is started again with its own;
// our own databases, which have no maintenance window, with the newest.
func (in *Instance) installation(ctx context.Context, s backend.Spec) (engine.Installation, error) {
	r, runs := in.Record(), in.seen.process != nil
	now, wanted := r.Installation, s.Build
	if wanted == "" && now.Version == s.Version && (runs || r.Reached > 0 && !s.Private) {
		wanted = now.FullVersion
	}
	if runs && now.Version == s.Version && wanted == now.FullVersion {
		return now, nil
	}
	found, err := in.m.Installed.Find(ctx, s.Engine, s.Version, wanted)
	if runs && found.Product == now.Product && found.FullVersion == now.FullVersion {
		return now, err
	}
	return found, err
}

// standIn is what is to be told of a node that runs from another build than its Spec names. It is empty for others.
func standIn(s backend.Spec, i engine.Installation) string {
	if s.Build == "" || s.Build == i.FullVersion {
		return ""
	}
	return fmt.Sprintf("%s %s is not on this machine any more: it is served with %s.", i.Product, s.Build, i.FullVersion)
}

func (in *Instance) noEngine() error {
	return backstay.Errorf(backstay.Unavailable, "This build of Backstay has no engine %s.", in.Record().Spec.Engine)
}

// nodeOf is the node as the generation wants it.
func (in *Instance) nodeOf(ctx context.Context, generation int64) (n node.Node, err error) {
	r := in.Record()
	spec := r.spec(generation)
	if in.m.Engines[spec.Engine] == nil {
		return n, in.noEngine()
	}
	if r.Installation, err = in.installation(ctx, spec); err != nil {
		return n, err
	}
	r.Place, r.Data = r.placeFor(generation, in.seen.laid), r.dataFor(generation, in.seen.laid)
	n, err = in.m.node(r, spec)
	n.Full = in.guarded.isFull()
	return n, err
}

// errMissing is that of an instance that has served and has no data.
var errMissing = errors.New("the data is missing")

// startSteps end with a process of the generation. What an instance that never served lacks is made.
func (in *Instance) startSteps(generation int64) []step.Step {
	var n node.Node
	return []step.Step{
		{Name: "keeper.prepared", Do: func(ctx context.Context) (err error) {
			closed, err := in.makeRoom(ctx)
			if err != nil {
				return err
			}
			if n, err = in.nodeOf(ctx, generation); err != nil {
				return err
			}
			n.Closed = n.Full && closed
			n.Program, err = in.prepare(ctx, n)
			in.seen.laid = in.versionOfData(n)
			return err
		}},
		{Name: "keeper.started", Do: func(context.Context) error {
			err := in.amendAlone(func(r *Record) {
				r.begin(generation)
				r.Installation, r.Program = n.Installation, n.Program
			})
			if err != nil {
				return err
			}
			r := in.Record()
			if !hasSeveral(r.spec(generation)) {
				if err := in.closeFront(); err != nil {
					return err
				}
			}
			in.enter(backend.Starting, "%s %s is starting.", r.Spec.Engine, n.Installation.FullVersion)
			if another := standIn(r.spec(generation), n.Installation); another != "" {
				in.log.Warn("a build that is gone is replaced by a newer one", "wanted", r.spec(generation).Build,
					"instead", n.Installation.FullVersion)
			}
			p, err := n.Start(in.log)
			if err == nil {
				in.take(n, p)
				in.seen.second.released = r.InStep.IsZero()
			}
			return err
		}},
	}
}

// wantData refuses to start a node that has served where some of its data is missing.
func (in *Instance) wantData(n node.Node) error {
	missing, err := n.MissingData(in.Record().isFresh())
	if missing == "" || err != nil {
		return err
	}
	what := "file"
	if missing == n.DataDir {
		what = "data directory"
	}
	below := filepath.Join(string(in.Record().Home()), strings.TrimPrefix(missing, n.Dir))
	return backstay.Wrapf(errMissing, backstay.Unavailable, "The %s instances/%s is missing. "+
		"Nothing is made in its place: the service instance serves again when it is back.", what, below)
}

// prepare prepares a node, as one of few at a time: our own databases do not wait for others.
func (in *Instance) prepare(ctx context.Context, n node.Node) (program string, err error) {
	r := in.Record()
	if in.isHung(r.Place) {
		return "", errHung
	}
	if n.Used = r.hasData(); n.Used {
		if err := in.wantData(n); err != nil {
			return "", err
		}
	} else {
		in.enter(backend.Preparing, "The data directory is being prepared.")
	}
	if r.Reached == 0 && !r.Spec.Private { // what has its data is prepared in a moment, and somebody waits for it
		if err := in.m.Slots.Acquire(ctx, 1); err != nil {
			return "", err
		}
		defer in.m.Slots.Release(1)
	}
	ctx, cancel := context.WithTimeout(ctx, preparePatience)
	defer cancel()
	return n.Prepare(ctx)
}

// awaitSteps end when the process serves.
func (in *Instance) awaitSteps() []step.Step {
	return []step.Step{{Name: "keeper.serving", Do: func(ctx context.Context) error {
		if in.seen.node.Engine == nil {
			return in.noEngine()
		}
		limited, cancel := context.WithTimeout(ctx, patienceWith(in.seen.node.Engine))
		defer cancel()
		if err := in.promote(limited); err != nil {
			in.noteDamage(err)
			return err
		}
		err := in.seen.node.StartCompanions(in.log)
		if err == nil {
			err = in.seen.node.Await(limited, in.seen.process)
		}
		if err == nil {
			in.renew(limited)
			in.seen.laid = in.versionOfData(in.seen.node) // which an earlier build may not have noted
		}
		in.notice(err)
		in.gauge()
		in.seen.answers, in.seen.awaited = err == nil, err != nil && ctx.Err() == nil // another wish says nothing of it
		return err
	}}}
}

// patienceWith is for how long a node of the engine may come up.
func patienceWith(e engine.Engine) time.Duration {
	if slow, ok := e.(engine.Slow); ok {
		return slow.Patience()
	}
	return awaitPatience
}

// renew has an engine that was found running take over the configuration that this build writes. What would
// take a restart waits for one, and whatever fails does so too: the engine serves.
func (in *Instance) renew(ctx context.Context) {
	n := in.seen.node
	reloader, ok := n.Engine.(engine.Reloader)
	if !ok || !n.Found {
		return
	}
	if r, known := in.room(); known {
		in.judge(r)
	}
	err := in.guarded.configure(n, func(n engine.Node) error {
		_, err := reloader.Reload(ctx, n)
		return err
	})
	if err != nil {
		in.log.Warn("an engine that was found running keeps the configuration that it has", "error", err)
	}
}

// reachSteps record that the process's generation serves, and tell it.
func (in *Instance) reachSteps(life context.Context) []step.Step {
	return []step.Step{{Name: "keeper.reached", Do: func(context.Context) error {
		in.write.Lock()
		defer in.write.Unlock()
		r := in.Record()
		if len(r.Drops) > 0 { // since decide has looked
			return nil
		}
		if r.Reached != r.Started || r.Before != nil && r.Started == r.Spec.Generation {
			if err := in.amend(func(r *Record) { r.reach() }); err != nil {
				return err
			}
		}
		return in.serve(life)
	}}}
}

// reach makes the generation that was started the one that was reached.
func (r *Record) reach() {
	r.Reached = r.Started
	if r.Started == r.Spec.Generation {
		r.Before, r.BeforeData, r.Obstacle = nil, "", backend.Obstacle{}
	}
}

// serve attends to a node that serves, and tells that it does. in.write is held, so that no user is owed to
// be dropped by the time it is told.
func (in *Instance) serve(life context.Context) error {
	s := &in.seen
	s.leave()
	s.leave = func() {}
	if r := in.Record(); hasSeveral(r.spec(r.Started)) && r.Second != nil {
		if err := in.openFront(life, r.Started); err != nil {
			return err
		}
	}
	dismiss, err := s.node.Accompany(life, in.log)
	if err != nil {
		return err
	}
	stuck, endTending := s.node.Tend(life, in.userMade, in.log)
	s.stuck = stuck
	endRefresh := in.refresh(life)
	filled, endGuard := in.guard(life)
	s.filled = filled
	s.leave = func() { endGuard(); endRefresh(); endTending(); dismiss() }
	s.serves, s.lived, s.up, s.logged, s.ended = true, true, in.m.Now(), "", ""
	r := in.Record()
	description := s.node.Describe(r.Spec.Engine)
	if another := standIn(r.spec(r.Started), s.node.Installation); another != "" && !strings.Contains(description, "\n") {
		description += ". " + another
	}
	in.report(func(st *backend.Status) {
		st.Generation, st.Phase, st.Message = r.Reached, backend.Running, description
		st.Build, st.Restored = s.node.Installation.FullVersion, r.Restored
		if r.Started == r.Spec.Generation {
			st.Obstacle = backend.Obstacle{}
		}
	})
	in.tellFall()
	in.concludeDrill(life)
	return nil
}

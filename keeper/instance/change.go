package instance

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// Names of steps that callers of the keeper begin.
const (
	specWritten    = "keeper.spec-written"
	removalWritten = "keeper.removal-written"
	discardWritten = "keeper.discard-written"
	copySettled    = "keeper.last-copy-settled"
)

// StepNames lists every step that is taken for an instance: where the keeper may die in the middle.
func StepNames() []string {
	var in *Instance
	names := []string{specWritten}
	for _, steps := range [][]step.Step{
		in.startSteps(0), in.awaitSteps(), in.dropSteps(), in.reachSteps(context.Background()), in.checkSteps(0),
		in.changeSteps(0), in.restartSteps(context.Background(), 0), in.giveUpSteps(backend.Obstacle{}), in.oweSteps(""),
		in.drillEndSteps(Drill{}, nil),
	} {
		names = append(names, step.Names(steps)...)
	}
	return append(append(names, removalWritten), step.Names(in.removeSteps())...)
}

// UpgradeStepNames lists the steps that are taken for an instance besides, where the machine has several versions.
func UpgradeStepNames() (names []string) {
	var in *Instance
	for _, steps := range [][]step.Step{in.upgradeSteps(0), in.returnSteps(0), in.tidySteps()} {
		names = append(names, step.Names(steps)...)
	}
	return names
}

// RestoreStepNames lists the steps that are taken for an instance besides, where it begins from a restore point or
// returns to one.
func RestoreStepNames() []string {
	var in *Instance
	return append(step.Names(in.restoreSteps(0, nil)), step.Names(in.exchangeSteps(0))...)
}

// PairStepNames lists the steps that are taken besides for an instance of two nodes.
func PairStepNames() (names []string) {
	var in *Instance
	for _, steps := range [][]step.Step{
		in.makingSteps(node.Node{}, false), in.followSteps(0), in.protectSteps(),
		in.handOverSteps(context.Background(), ""), in.leaveSteps(), in.exposeSteps(), in.disbandSteps(), in.routeSteps(),
	} {
		names = append(names, step.Names(steps)...)
	}
	return append(names, readWritten)
}

// ReplicaStepNames lists the steps that are taken besides for an instance with further replicas.
func ReplicaStepNames() (names []string) {
	f := new(follower)
	for _, steps := range [][]step.Step{
		f.makingSteps(node.Node{}, Record{}, false, false), f.followSteps(), f.leaveSteps(), f.disbandSteps(),
	} {
		names = append(names, step.Names(steps)...)
	}
	return names
}

// LastCopyStepNames lists the steps that are taken besides where a last copy is owed.
func LastCopyStepNames() []string { return []string{copySettled, discardWritten} }

// checkSteps find out whether the generation is possible, while another one serves.
func (in *Instance) checkSteps(generation int64) []step.Step {
	return []step.Step{{Name: "keeper.checked", Do: func(ctx context.Context) error {
		n, err := in.nodeOf(ctx, generation)
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, preparePatience)
			defer cancel()
			err = in.possible(ctx, generation, n)
		}
		if err == nil {
			in.seen.checked, in.seen.failures = generation, 0
		}
		return err
	}}}
}

// removeSteps end with nothing left of the instance, its record last.
func (in *Instance) removeSteps() []step.Step {
	n := func() (node.Node, error) {
		r := in.Record()
		return in.m.node(r, r.spec(r.Started))
	}
	return []step.Step{
		{Name: "keeper.stopped", Do: func(context.Context) error {
			in.enter(backend.Removing, "The service instance is being removed.")
			in.Tell("The service instance is being removed.")
			in.seen.restoring.end()
			in.seen.restoring = nil
			in.seen.drill.End()
			in.dismissReplicas()
			if err := in.endSecond(); err != nil {
				return err
			}
			in.lose()
			if err := errors.Join(in.closeFront(), in.closeReadFront()); err != nil {
				return err
			}
			n, err := n()
			if err != nil {
				return err
			}
			if _, err := n.Stop(); err != nil {
				return err
			}
			_, err = in.stopSecond()
			return errors.Join(err, in.stopReplicas(), n.EndRemnants(), n.Abandon())
		}},
		{Name: "keeper.last-copy-made", Do: func(ctx context.Context) error {
			n, err := n()
			if err != nil || in.Record().isShredded() { // it was made before that
				return err
			}
			return errors.Join(in.archiveEnd(ctx, n), in.keepData(ctx, n))
		}},
		{Name: "keeper.key-forgotten", Do: func(context.Context) error { return in.forgetKey() }},
		{Name: "keeper.files-removed", Do: func(ctx context.Context) error {
			n, err := n()
			if err != nil {
				return err
			}
			return in.removeFiles(ctx, n)
		}},
		{Name: "keeper.record-removed", Do: func(context.Context) error {
			return errors.Join(in.m.Groups.Remove(string(in.Record().Home())), in.m.Records.Remove(in.ID))
		}},
	}
}

// giveUpSteps record that the wanted generation is not tried any more.
func (in *Instance) giveUpSteps(o backend.Obstacle) []step.Step {
	return []step.Step{{Name: "keeper.given-up", Do: func(context.Context) error {
		return in.amendAlone(func(r *Record) {
			if r.Spec.Generation == o.Generation && r.Before != nil {
				r.Obstacle = o
			}
		})
	}}}
}

// hopeless is how long a generation that has never served may fail until it is given up: long enough to try a
// few times, short enough for someone who waits.
const hopeless = 3 * time.Second

// hopelessMissing is the same where data is missing, which may be on a volume that is about to be mounted, or where a
// restore fails, while its repository is not away: what is in the way may be gone in a moment.
const hopelessMissing = time.Minute

// missingPause is how long after a look for missing data the next one comes.
const missingPause = time.Second

// fail tells why what was to be done could not be, and when it is tried again.
func (in *Instance) fail(a action, err error) {
	s, now := &in.seen, in.m.Now()
	if s.process != nil {
		select {
		case <-s.process.Done():
			if s.serves {
				s.ended = sentence(err)
			}
			if s.serves && now.Sub(s.up) > time.Minute {
				s.failures = 0
			}
			in.lose()
		default:
		}
	}
	if a.verb == toStart {
		s.looked = false
	}
	if s.failures++; s.failures == 1 || errors.Is(err, errRepositoryAway) { // the time in which it is away does not count
		s.failed = now
	}
	if isMissing(err) && s.missing.IsZero() {
		s.missing = now
	}
	delay := in.delay(err)
	if isFull(err) && in.m.Records.Reserve.Spend() {
		in.log.Warn("the disk is full; the room that was kept for changes is used up")
		delay = 0
	}
	s.retry = now.Add(delay)
	if err.Error() != s.logged { // what goes wrong in the same way each time is told once
		in.log.Warn("an instance is not as it is wanted", "at", a.verb, "error", err, "again_in", delay)
		s.logged = err.Error()
	}
	if a.verb == toRemove {
		return
	}
	in.giveUpCopy(err)
	in.tell(a, err, delay)
}

func (in *Instance) delay(err error) time.Duration {
	delay := backoff(in.seen.failures)
	if isMissing(err) {
		return min(delay, missingPause)
	}
	return delay
}

// tell reports a failure. A first one is tried again at once, and not worth the word. Where another
// generation serves on, the failure is only an obstacle on the way to the wanted one.
func (in *Instance) tell(a action, err error, delay time.Duration) {
	r, why := in.Record(), sentence(err)
	o := backend.Obstacle{Generation: r.Spec.Generation, Sentence: why, Final: in.isFinal(err)}
	wanted := r.Reached < r.Spec.Generation && cmp.Or(a.generation, r.Started) == r.Spec.Generation
	if wanted && o.Final && r.canReturn(in.seen.laid, in.m.Engines[r.Spec.Engine]) {
		in.giveUp(o)
	}
	in.report(func(st *backend.Status) {
		if wanted && (delay > 0 || o.Final) && st.Wanted == o.Generation {
			st.Obstacle = o
		}
		switch {
		case in.seen.serves:
		case errors.Is(err, errRestore) && !o.Final:
			st.Phase, st.Message = backend.Preparing, why+" It is tried again."
		case delay == 0 && !o.Final:
			st.Phase, st.Message = backend.Starting, why+" It is started again."
		default:
			st.Phase, st.Message = backend.Failing, why
		}
	})
}

// canReturn tells whether the Spec before can be served again, where the data in use is of the version laid. Builds of
// one version go both ways, unless the engine says otherwise. Another version has data of its own.
func (r Record) canReturn(laid string, e engine.Engine) bool {
	before := r.Before
	switch {
	case before == nil:
		return false
	case r.Started == before.Generation:
		return true
	case r.isUntried():
		return r.wantsDataBefore(*before)
	case before.Version == r.Spec.Version:
		returner, ok := e.(engine.Returner)
		return !ok || before.Build == r.Installation.FullVersion || returner.Returns(r.Installation, before.Build)
	}
	return laid != "" && r.way(before.Generation, laid) != byUpgrade
}

// giveUp returns to the generation before, at once.
func (in *Instance) giveUp(o backend.Obstacle) {
	if err := step.Run(context.Background(), in.giveUpSteps(o)...); err != nil {
		in.log.Error("it could not be recorded that a generation is given up", "error", err)
		return
	}
	in.seen.failures, in.seen.retry = 0, time.Time{}
}

// isFinal tells whether only another Spec can help: the wanted one asks for what cannot be, or it has failed
// for long.
func (in *Instance) isFinal(err error) bool {
	kind, patience := backstay.KindOf(err), hopeless
	if isMissing(err) || errors.Is(err, errRestore) {
		patience = hopelessMissing
	}
	lasts := in.m.Now().Sub(in.seen.failed) >= patience
	return kind == backstay.Unsupported || kind == backstay.Invalid || lasts
}

package instance

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// viewSecond is what decide may know of the second at this moment.
func (in *Instance) viewSecond(r Record) secondView {
	s := &in.seen.second
	v := secondView{
		inStep: !r.InStep.IsZero(), released: s.released, making: s.making.isUnderWay(), alive: s.process != nil,
		follows: s.follows && s.mirrored == in.unmirrored.Load(), followed: s.followed,
		asked: s.asked, away: s.away, failures: s.failures, retry: s.retry,
	}
	if s.process != nil {
		v.stopped = node.IsStopped(s.process.PID)
	}
	if r.Failover != nil {
		v.changed = r.Failover.At
	}
	if r.Second == nil {
		return v
	}
	if s.absent { // its data may be whole: it comes back with its disk
		v.failures = 0
	}
	v.late, v.whole, v.parting = in.isLate(), r.Second.Whole, r.Removing
	v.wanted = hasSeveral(r.spec(r.Started))
	v.due = r.spec(r.Started).Failovers > r.Failovers
	v.there = v.wanted || r.Second.Data != "" || !r.keepsSecond()
	v.fenced, v.started = r.Second.Fenced, r.Second.Started
	v.data = r.Second.Data != "" && !r.Second.Fenced && r.Second.Data == dataName(r.Data)
	v.data = v.data && !(s.placed && r.isMisplaced())
	return v
}

// keepsElsewhere tells whether data that the instance can return to lies in the second's place.
func (r Record) keepsElsewhere() bool { return r.Kept != nil && r.Kept.Place != r.Place }

// keepsSecond tells whether the record keeps the second that the process's generation has no use for: there is data in
// its place that the instance can return to, or the wanted Spec is of two, and was given no other one.
func (r Record) keepsSecond() bool { return r.keepsElsewhere() || hasSeveral(r.Spec) }

// replicator is the engine of an instance of two.
func (in *Instance) replicator() (engine.Replicator, error) {
	e, ok := in.m.Engines[in.Record().Spec.Engine].(engine.Replicator)
	if !ok {
		return nil, backstay.Errorf(backstay.Unavailable, "This build of Backstay knows of no standby for its engine.")
	}
	return e, nil
}

// secondNode is the second as the generation wants it, from what its process was started from.
func (in *Instance) secondNode(generation int64) (node.Node, error) {
	r := in.Record()
	if r.Second == nil {
		return node.Node{}, errors.New("the instance has one node")
	}
	return in.m.second(r, r.spec(generation))
}

// findSecond finds the process of the second that an earlier keeper has left.
func (in *Instance) findSecond() error {
	r, s := in.Record(), &in.seen.second
	if s.process != nil || r.Second == nil || r.Second.Data == "" {
		return nil
	}
	n, err := in.secondNode(r.Second.Started)
	if err != nil {
		return err
	}
	p, err := n.Find()
	if p == nil || err != nil {
		return err
	}
	n.Found = true
	n.Gather(p.PID, in.log)
	s.node, s.process, s.away = n, p, in.m.Now()
	return nil
}

// loseSecond forgets the second's process, which has ended.
func (in *Instance) loseSecond() {
	s := &in.seen.second
	if s.process != nil {
		s.process.Close()
	}
	s.process, s.follows, s.followed, s.away = nil, false, false, in.m.Now()
	s.forgetReads()
}

// endSecond ends the second's process, and what makes its data.
func (in *Instance) endSecond() error {
	s := &in.seen.second
	s.making.end()
	s.making = nil
	if s.process == nil {
		return nil
	}
	end := s.endProcess
	if in.isHung(in.Record().Place.other()) {
		end = func() error { return s.node.Strike(s.process) }
	}
	if err := end(); err != nil {
		return err
	}
	in.loseSecond()
	return nil
}

// endProcess ends the process of a node that follows. One that stands still does not hear that it is to end.
func (s *secondSight) endProcess() error {
	if node.IsStopped(s.process.PID) {
		return s.node.Kill(s.process)
	}
	return s.node.EndWithin(endPatience, s.process)
}

// stopSecond ends what the record says runs of the second, whoever has started it.
func (in *Instance) stopSecond() (stopped bool, err error) {
	r := in.Record()
	if r.Second == nil {
		return false, nil
	}
	n, err := in.secondNode(r.Second.Started)
	if err != nil {
		return false, err
	}
	stopped, err = n.Stop()
	return stopped, errors.Join(err, n.EndRemnants(), n.Abandon(), in.m.Groups.Remove(string(r.SecondHome())))
}

// failSecond tells of what could not be done for the second, which is tried again.
func (in *Instance) failSecond(v verb, err error) {
	s := &in.seen.second
	s.failures++
	s.absent = errors.Is(err, errAway)
	if s.process == nil && s.away.IsZero() { // it was looked for, and cannot be started
		s.away = in.m.Now()
	}
	delay := max(backoff(s.failures), seeAgain)
	s.retry = in.m.Now().Add(delay)
	in.log.Warn("a standby is not as it is wanted", "at", v, "error", err, "again_in", delay)
	if in.Record().InStep.IsZero() && s.failures > 1 {
		in.tellExposed(sentence(err))
	}
}

// secondTrouble is the kind of trouble of an instance whose standby does not stand by.
const secondTrouble = "standby"

// tellExposed tells that the instance is not protected, and why.
func (in *Instance) tellExposed(why string) {
	in.complain(secondTrouble, "The instance is not protected against the loss of its primary: "+why)
}

// amendSecond changes what the record says of the second.
func (in *Instance) amendSecond(change func(*Second)) error {
	return in.amendAlone(func(r *Record) {
		if r.Second != nil {
			second := *r.Second
			change(&second)
			r.Second = &second
		}
	})
}

// attendSecond does what decide has said for the second. That it fails is no failure of the primary.
func (in *Instance) attendSecond(ctx context.Context, a action) error {
	switch a.verb {
	case toFollow:
		return step.Run(ctx, in.followSteps(a.generation)...)
	case toProtect:
		return step.Run(ctx, in.protectSteps()...)
	case toExpose:
		return step.Run(ctx, in.exposeSteps()...)
	case toLeave:
		return step.Run(ctx, in.leaveSteps()...)
	case toDisband:
		return step.Run(ctx, in.disbandSteps()...)
	}
	return in.see(ctx)
}

// followSteps end with a process of the second.
func (in *Instance) followSteps(generation int64) []step.Step {
	var n node.Node
	return []step.Step{
		{Name: "keeper.second-prepared", Do: func(ctx context.Context) (err error) {
			if err := in.wantSecondDisk(); err != nil {
				return err
			}
			if err := in.mountSecond(ctx); err != nil {
				return err
			}
			if n, err = in.nextSecond(ctx, generation); err != nil {
				return err
			}
			if err := in.wantSecondData(n); err != nil {
				return err
			}
			if _, err := n.Stop(); err != nil { // it has ended, as far as is known: its file is left, and says that it runs
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, preparePatience)
			defer cancel()
			n.Program, err = n.Prepare(ctx)
			return err
		}},
		{Name: "keeper.second-started", Do: func(context.Context) error {
			in.tellAhead(generation)
			if err := in.noteFollower(generation, n); err != nil {
				return err
			}
			p, err := n.Start(in.log)
			if err == nil {
				s := &in.seen.second
				s.node, s.process, s.follows, s.away, s.asked = n, p, false, in.m.Now(), time.Time{}
				s.forgetReads()
			}
			return err
		}},
	}
}

// noteFollower notes that the second is started. Where nobody waits for it, it lacks from now on what has not come to
// its files yet, until it has been sent everything anew.
func (in *Instance) noteFollower(generation int64, n node.Node) error {
	late := in.isLate()
	return in.amendAlone(func(r *Record) {
		second := *r.Second
		second.Started, second.Installation, second.Program = generation, n.Installation, n.Program
		if late {
			r.InStep = time.Time{}
		}
		r.Second = &second
	})
}

// seePatience is how long it may take to find out how the second follows.
const seePatience = 2 * time.Second

// see finds out how the second follows the primary. A primary that stands still is not asked about that: whether it is
// to be replaced is seen sooner.
func (in *Instance) see(life context.Context) error {
	s := &in.seen.second
	if node.IsStopped(in.seen.process.PID) {
		s.asked = in.m.Now()
		return in.ask(life)
	}
	e, err := in.replicator()
	if err != nil {
		return err
	}
	in.beat()
	ctx, end := in.whileDoubted(life)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, seePatience)
	defer cancel()
	err = errors.Join(in.wantSecondData(s.node), in.wantFooting())
	if in.isHung(in.Record().Place.other()) {
		err = errSecondHung
	}
	if err != nil { // it could follow for long, and not be started again
		s.asked = in.m.Now()
		s.follows, s.followed, s.away = false, false, s.asked.Add(-anewPatience)
		return err
	}
	unmirrored, strangers := in.unmirrored.Load(), in.strangers.now()
	mirrored := s.mirror(ctx, e, in.seen.node)
	f, err := e.Follows(ctx, in.seen.node.Node, s.node.Node)
	s.asked = in.m.Now()
	select {
	case <-s.process.Done():
		return in.explainSecond()
	default:
	}
	if err != nil {
		in.seen.probed = time.Time{} // the reason may be the primary: it is asked itself next
	}
	if isLost(err) {
		return in.ask(ctx)
	}
	if s.noteFollowing(f, err); s.follows {
		in.placeAnew(ctx)
	}
	s.mirrored = unmirrored
	if s.hear(err, s.asked); err == nil {
		s.reads.Look(f, s.asked)
		s.judgeLag(in.maxLag(), in.log)
		in.tellFlapping()
		if reader, ok := e.(engine.Reader); ok {
			s.accompany(in.log)
			s.catchUp(life, reader, in.seen.node, strangers, mirrored)
		}
	}
	return nil
}

// noteFollowing notes how a node follows, which was just asked, or why that could not be found out.
func (s *secondSight) noteFollowing(f engine.Following, err error) {
	if s.follows = err == nil && f.Streams; err == nil || errors.Is(err, engine.ErrCopy) {
		s.followed = s.follows
	}
	switch {
	case s.follows:
		s.away = time.Time{}
	case errors.Is(err, engine.ErrCopy):
		s.away = s.asked.Add(-anewPatience)
	case s.away.IsZero(), err == nil && f.Behind < s.behind.Behind: // it catches up
		s.away = s.asked
	}
	s.behind = f
}

// await has the primary wait for the second with what it acknowledges, or not.
func (in *Instance) await(ctx context.Context, name string) error {
	e, err := in.replicator()
	if err != nil {
		return err
	}
	n := in.seen.node
	if n.Replication == nil { // it was started as the only one
		return nil
	}
	part := *n.Replication
	part.Awaits = name
	n.Replication = &part
	ctx, cancel := context.WithTimeout(ctx, seePatience)
	defer cancel()
	err = in.guarded.configure(n, func(n engine.Node) error { return e.Await(ctx, n) })
	if err == nil {
		in.seen.node = n
	}
	return err
}

// protectSteps have the primary wait for the second, which follows, and note it then.
func (in *Instance) protectSteps() []step.Step {
	return []step.Step{
		{Name: "keeper.awaited", Do: func(ctx context.Context) error {
			in.seen.second.released = false
			return in.await(ctx, in.Record().Place.other().name())
		}},
		{Name: "keeper.protected", Do: func(context.Context) error {
			err := in.noteInStep()
			if err == nil {
				in.seen.second.failures = 0
				in.complain(secondTrouble, "")
				in.log.Info("an instance is protected by its standby", "standby", in.Record().Place.other().name())
			}
			return err
		}},
	}
}

// noteInStep notes that the second is in step, as it was seen last.
func (in *Instance) noteInStep() error {
	in.write.Lock()
	defer in.write.Unlock()
	if in.seen.second.mirrored != in.unmirrored.Load() {
		return errors.New("a user was made or dropped meanwhile")
	}
	return in.amend(func(r *Record) {
		second := *r.Second
		second.Whole = true
		r.InStep, r.Second = in.m.Now().UTC(), &second
	})
}

// exposeSteps note that the second may lack something from now on, and let the primary go on without it then.
func (in *Instance) exposeSteps() []step.Step {
	return []step.Step{
		{Name: "keeper.exposed", Do: func(ctx context.Context) error {
			if in.Record().InStep.IsZero() {
				return nil
			}
			if err := in.askNode(ctx); errors.Is(err, engine.ErrDamaged) { // it has the only good data
				in.notice(err)
				return err
			}
			in.log.Warn("an instance is not protected any more", "why", in.whyExposed())
			return in.amendAlone(func(r *Record) { r.InStep = time.Time{} })
		}},
		{Name: "keeper.released", Do: func(ctx context.Context) error {
			if hasSeveral(in.Record().spec(in.Record().Started)) {
				in.tellExposed(in.whyExposed())
			}
			err := in.await(ctx, "")
			in.seen.second.released = err == nil
			return err
		}},
	}
}

// leaveSteps end the second's process. What has not followed for long is made anew.
func (in *Instance) leaveSteps() []step.Step {
	return []step.Step{{Name: "keeper.second-left", Do: func(context.Context) error {
		r := in.Record()
		anew := r.InStep.IsZero() && in.viewSecond(r).awayFor(in.m.Now()) >= anewPatience
		if err := in.endSecond(); err != nil {
			return err
		}
		return in.amendSecond(func(s *Second) {
			if s.Started = 0; anew {
				s.Data, s.Whole = "", false
			}
		})
	}}}
}

package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper/node"
)

// follower keeps the replica at one place, in a goroutine of its own: whatever a replica is at, or hangs in, the
// primary and its standby are looked after meanwhile. It reads the record, changes what that says of its replica
// alone, and tells Run what reads may rely on.
type follower struct {
	in    *Instance
	place Place
	log   *slog.Logger

	strangers strangers

	cancel context.CancelFunc
	done   chan struct{} // closed when nobody keeps the replica any more; nil: nobody ever has

	looked bool        // the process was looked for
	seen   secondSight // its goroutine's alone

	mu   sync.Mutex
	told replicaSight
}

// replicaSight is what a follower tells of its replica.
type replicaSight struct {
	status  backend.NodeStatus
	term    int64 // of the primary that it follows
	alive   bool
	unknown bool  // it was found running, and nobody has asked yet
	fit     bool  // it may be read from, but for users of whom it has not heard
	caught  int64 // up to which of those it has
	lagging bool  // what its clients read is too old
}

func newFollowers(in *Instance) (all []*follower) {
	for _, p := range replicaPlaces {
		f := &follower{in: in, place: p, log: in.log.With("replica", p)}
		f.strangers.add(true) // of whom this keeper does not know
		all = append(all, f)
	}
	return all
}

// begin has a goroutine keep the replica, unless one does.
func (f *follower) begin(life context.Context) {
	if f.done != nil {
		select {
		case <-f.done:
		default:
			return
		}
	}
	ctx, cancel := context.WithCancel(life)
	done := make(chan struct{})
	f.cancel, f.done = cancel, done
	go func() {
		defer close(done)
		defer cancel()
		f.run(ctx)
	}()
}

func (f *follower) end() {
	if f.done != nil {
		f.cancel()
		<-f.done
	}
}

// run keeps the replica until ctx ends, which leaves its process running, or until the record has none at the place.
func (f *follower) run(ctx context.Context) {
	f.looked, f.seen = false, secondSight{}
	defer f.lose()
	for ctx.Err() == nil {
		if _, i := f.in.Record().replica(f.place); i < 0 {
			f.publish(replicaSight{})
			f.tell("")
			return
		}
		f.seen.endCatchUp(f.log)
		v := f.view()
		f.publish(f.sight(v))
		next, until := v.next(f.in.m.Now())
		if err := f.do(ctx, next, until); err != nil && ctx.Err() == nil {
			f.fail(next, err)
		}
	}
}

// do does what next has said.
func (f *follower) do(ctx context.Context, next verb, until time.Time) error {
	switch next {
	case toLook:
		return f.look()
	case toCopy, toRejoin:
		return f.make(ctx, next == toRejoin)
	case toFollow:
		return f.follow(ctx)
	case toSee:
		return f.see(ctx)
	case toLeave:
		return f.leave(ctx)
	case toDisband:
		return f.disband(ctx)
	}
	timer := time.NewTimer(until.Sub(f.in.m.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.seen.catching.ended():
	case <-endOf(f.seen.process):
		return f.explain()
	case <-ctx.Done():
	}
	return nil
}

// view is what next may know at this moment.
func (f *follower) view() replicaView {
	s, r := &f.seen, f.in.Record()
	rep, _ := r.replica(f.place)
	v := replicaView{
		wanted: r.wantsReplica(f.place), kept: r.keepsReplica(f.place), serves: f.in.isServing(),
		looked: f.looked, alive: s.process != nil,
		data: rep.Data != "" && rep.Data == dataName(r.Data), current: rep.Term == r.Term,
		started: rep.Started, generation: r.Started,
		follows: s.follows, asked: s.asked, away: s.away, failures: s.failures, retry: s.retry,
	}
	v.stopped = v.alive && node.IsStopped(s.process.PID)
	if !v.serves && !s.away.IsZero() { // nobody can follow: that does not count
		s.away = f.in.m.Now()
		v.away = s.away
	}
	return v
}

// isServing tells whether the primary serves, as far as is known.
func (in *Instance) isServing() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.phase == backend.Running && in.pid != 0
}

// primary is the node that serves, and what the record says then.
func (f *follower) primary() (n node.Node, r Record, err error) {
	r = f.in.Record()
	n, err = f.in.m.node(r, r.spec(r.Started))
	if err == nil && !f.in.isServing() {
		err = backstay.Errorf(backstay.Unavailable, "The primary does not serve now.")
	}
	return n, r, err
}

// node is the replica as the record has it.
func (f *follower) node() (node.Node, error) {
	r := f.in.Record()
	rep, i := r.replica(f.place)
	if i < 0 {
		return node.Node{}, errors.New("the instance has no such replica")
	}
	return f.in.m.replicaNode(r, r.spec(r.Started), rep)
}

// look finds the process that an earlier keeper has left.
func (f *follower) look() error {
	r := f.in.Record()
	rep, _ := r.replica(f.place)
	n, err := f.in.m.replicaNode(r, r.spec(rep.Started), rep)
	if err != nil {
		return err
	}
	p, err := n.Find()
	if err != nil {
		return err
	}
	if f.looked = true; p == nil {
		return nil
	}
	n.Found = true
	n.Gather(p.PID, f.log)
	f.take(n, p)
	return nil
}

// take makes a process the replica's.
func (f *follower) take(n node.Node, p *process.Process) {
	s := &f.seen
	s.node, s.process, s.follows, s.away, s.asked = n, p, false, f.in.m.Now(), time.Time{}
	s.forgetReads()
}

// lose forgets the process, which has ended, or goes on without this keeper.
func (f *follower) lose() {
	s := &f.seen
	if s.process != nil {
		s.process.Close()
	}
	s.process, s.follows, s.away = nil, false, f.in.m.Now()
	s.forgetReads()
}

// explain is why the process has ended.
func (f *follower) explain() error {
	err := f.seen.node.Explain()
	f.lose()
	return err
}

// fail tells of what could not be done, which is tried again.
func (f *follower) fail(v verb, err error) {
	s := &f.seen
	s.failures++
	delay := max(backoff(s.failures), seeAgain)
	s.retry = f.in.m.Now().Add(delay)
	f.log.Warn("a replica is not as it is wanted", "at", v, "error", err, "again_in", delay)
	if s.failures > 1 && f.in.isServing() {
		f.tell("Replica " + f.place.name() + " is not read from: " + sentence(err))
	}
}

// tell tells of the replica's trouble; an empty sentence ends that.
func (f *follower) tell(sentence string) {
	f.in.complain(fmt.Sprintf("replica %s", f.place.name()), sentence)
}

// see finds out how the replica follows the primary. A primary that stands still is not asked about that. Where it
// cannot be found out, whether the replica answers tells whether that is its own fault.
func (f *follower) see(ctx context.Context) error {
	s := &f.seen
	primary, r, err := f.primary()
	if err != nil || f.in.standsStill() {
		s.asked = f.in.m.Now()
		return nil
	}
	e, err := f.in.replicator()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, seePatience)
	defer cancel()
	strangers := f.strangers.now()
	mirrored := s.mirror(limited, e, primary)
	following, err := e.Follows(limited, primary.Node, s.node.Node)
	heard := err
	if err != nil && !errors.Is(err, engine.ErrCopy) {
		heard = s.node.Ask(ctx, s.process)
	}
	s.asked = f.in.m.Now()
	select {
	case <-s.process.Done():
		return f.explain()
	default:
	}
	if ctx.Err() != nil || f.in.Record().Term != r.Term { // what was asked is not whom it is to follow
		return nil
	}
	s.noteFollowing(following, err)
	if s.hear(heard, s.asked); err == nil {
		f.judge(ctx, e, following)
		if reader, ok := e.(engine.Reader); ok {
			s.catchUp(ctx, reader, primary, strangers, mirrored)
		}
	}
	if s.follows {
		s.failures = 0
		f.tell("")
	}
	return nil
}

// judge says whether the replica may be read from. Where it is too far behind, what its readers are at is ended once
// the front lets nobody in any more: a server need not notice that they are gone, and they may be what holds it up.
func (f *follower) judge(ctx context.Context, e engine.Replicator, following engine.Following) {
	s := &f.seen
	s.reads.Look(following, s.asked)
	s.judgeLag(f.in.maxLag(), f.log)
	reader, ok := e.(engine.Reader)
	if !ok {
		return
	}
	if s.reads.IsLate() && f.in.isShut(nodeAddress(s.node.Ports[0].Number)) {
		limited, cancel := context.WithTimeout(ctx, mirrorPatience)
		defer cancel()
		if err := reader.EndReaders(limited, s.node.Node); err != nil {
			f.log.Warn("what readers are at on a replica that is behind goes on", "error", err)
		}
	}
	s.accompany(f.log)
}

// standsStill tells whether the primary's process does: it would keep whoever asks it waiting.
func (in *Instance) standsStill() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.pid != 0 && node.IsStopped(in.pid)
}

// sight is what Run may know of the replica.
func (f *follower) sight(v replicaView) replicaSight {
	s, rep := &f.seen, replicaSight{}
	if v.wanted {
		rep.status = backend.NodeStatus{Name: f.place.name(), Role: backend.Replica, Phase: v.phase()}
		if behind := s.behind.Behind; v.follows && behind >= backstay.MB {
			rep.status.Lag = behind
		}
		rep.status.LagSeconds = int64(s.lag() / time.Second)
	}
	if v.current {
		rep.term = f.in.Record().Term
	} else {
		rep.term = -1
	}
	heard := s.unheard.IsZero() || s.asked.Sub(s.unheard) < unheardPatience
	rep.alive, rep.unknown = v.alive, v.alive && s.node.Found && s.isUnseen()
	rep.fit = v.alive && v.wanted && v.data && s.reads.Known() && !s.reads.IsLate() && heard
	rep.caught, rep.lagging = s.caught, v.alive && s.reads.IsLate()
	return rep
}

// published is what Run may know of the replica now.
func (f *follower) published() replicaSight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// publish tells Run what the replica is like, and users if that is another thing than before.
func (f *follower) publish(now replicaSight) {
	f.mu.Lock()
	before := f.told
	f.told = now
	f.mu.Unlock()
	if now == before {
		return
	}
	f.in.wake()
	if now.status != before.status {
		f.in.report(func(*backend.Status) {})
	}
}

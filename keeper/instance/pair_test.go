package instance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
)

// simulated is a node of an instance of two in a simulation: what is on its disk, and its process.
type simulated struct {
	data   bool
	broken bool  // no process starts with the data
	fenced bool  // whoever starts with it takes no writes
	log    []int // commits that it has, in order

	alive, stopped bool
	primary        bool // takes writes
	awaits         bool // and acknowledges what the other has only
	part           bool // it was started as one of two
}

func (n *simulated) String() string {
	return fmt.Sprintf("data %t broken %t fenced %t, %d commits; alive %t stopped %t primary %t awaits %t part %t", n.data,
		n.broken, n.fenced, len(n.log), n.alive, n.stopped, n.primary, n.awaits, n.part)
}

func (n *simulated) takesWrites() bool { return n.alive && !n.stopped && n.primary }

// pair is an instance of two in a simulation, with the writers of its clients.
type pair struct {
	t       *testing.T
	rand    *rand.Rand
	now     time.Time
	history []string

	record   Record
	places   map[Place]*simulated
	v        view
	sight    secondView // what the keeper of the moment has seen
	failures int

	commits int
	acked   []int // in order
	waiting []int // for the second
	making  time.Time
	crashed bool // the keeper died in the middle of what it did

	failovers int
}

func newPair(t *testing.T, r *rand.Rand) *pair {
	p := &pair{t: t, rand: r, now: time.Unix(1e9, 0), places: map[Place]*simulated{firstPlace: {}, secondPlace: {}}}
	p.record.Spec = backend.Spec{Generation: 1, Nodes: 2, Version: versions[0]}
	p.record.Second = &Second{Port: 2}
	p.record.Port, p.record.NodePort = 3, 1
	return p
}

func (p *pair) note(format string, args ...any) {
	p.history = append(p.history, p.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (p *pair) fatalf(format string, args ...any) {
	p.t.Helper()
	for _, line := range p.history[max(0, len(p.history)-60):] {
		p.t.Log(line)
	}
	p.t.Fatalf("%s\nview %+v\nrecord %+v second %+v\n1: %v\n2: %v", fmt.Sprintf(format, args...), p.v, p.record.LogValue(),
		p.record.Second, p.places[firstPlace], p.places[secondPlace])
}

func (p *pair) serving() *simulated { return p.places[p.record.Place] }
func (p *pair) second() *simulated  { return p.places[p.record.Place.other()] }

// dies tells whether the keeper dies now, between two steps.
func (p *pair) dies() bool {
	if !p.crashed && p.rand.IntN(40) == 0 {
		p.note("the keeper dies in the middle")
		p.crashed = true
	}
	return p.crashed
}

// forget is what a new keeper begins with.
func (p *pair) forget() {
	p.v, p.sight, p.failures, p.making, p.crashed = view{}, secondView{}, 0, time.Time{}, false
}

func (p *pair) lose() {
	sized := p.v.sized
	p.v = view{sized: sized, retry: p.v.retry}
}

func (p *pair) fail() {
	p.failures++
	p.v.retry = p.now.Add(backoff(p.failures))
}

// look brings the view up to date with the record and with what the keeper sees by itself.
func (p *pair) look() {
	r := p.record
	v := &p.v
	v.wish, v.started, v.reached = r.wish(), r.Started, r.Reached
	v.before = 0
	if r.Before != nil {
		v.before = r.Before.Generation
	}
	v.checked, v.failed, v.sized, v.fronted = v.generation, p.failures > 1, true, true
	s := p.sight
	s.inStep, s.alive, s.stopped = !r.InStep.IsZero(), s.alive && p.second().alive, p.second().stopped
	s.making = !p.making.IsZero()
	if r.Failover != nil {
		s.changed = r.Failover.At
	}
	if r.Second != nil {
		s.wanted, s.started = hasSeveral(r.spec(r.Started)), r.Second.Started
		s.due = r.spec(r.Started).Failovers > r.Failovers
		s.there, s.data = true, r.Second.Data != "" && !r.Second.Fenced
	}
	v.second = s
}

// write lets clients write, and what is written reach the second.
func (p *pair) write() {
	takers := 0
	for _, n := range p.places {
		if n.takesWrites() {
			takers++
		}
	}
	if takers > 1 {
		p.fatalf("two nodes take writes")
	}
	n, other := p.serving(), p.second()
	if !n.takesWrites() {
		p.waiting = nil // their connections break: nothing was acknowledged to them
		return
	}
	p.commits++
	n.log = append(n.log, p.commits)
	p.waiting = append(p.waiting, p.commits)
	if p.streams() && p.rand.IntN(3) > 0 {
		other.log = slices.Clip(n.log)
	}
	for len(p.waiting) > 0 && (!n.awaits || other.has(p.waiting[0])) {
		p.acked, p.waiting = append(p.acked, p.waiting[0]), p.waiting[1:]
	}
}

// streams tells whether the second follows the primary.
func (p *pair) streams() bool {
	n, other := p.serving(), p.second()
	return n.takesWrites() && n.part && other.alive && !other.stopped && !other.primary && other.isBefore(n)
}

func (n *simulated) has(commit int) bool {
	_, has := slices.BinarySearch(n.log, commit)
	return has
}

// isBefore tells whether all that n has is the beginning of what the other has: no two commits have the same number.
func (n *simulated) isBefore(other *simulated) bool {
	last := len(n.log) - 1
	return last < 0 || last < len(other.log) && other.log[last] == n.log[last]
}

func (p *pair) step() (rested bool) {
	if p.crashed {
		p.forget()
	}
	if !p.making.IsZero() && !p.now.Before(p.making) {
		p.finishMaking()
	}
	p.look()
	if p.v.alive && !p.serving().alive {
		p.note("its end is seen")
		p.lose()
		p.fail()
		return false
	}
	if p.sight.alive && !p.second().alive {
		p.note("the end of the second is seen")
		p.sight.alive, p.sight.follows, p.sight.away = false, false, p.now
		return false
	}
	a := decide(p.v, p.now)
	if a.verb != toRest && a.verb != toAsk && a.verb != toSee {
		p.note("%s %d", a.verb, a.generation)
	}
	if a.verb == toRest {
		next := p.now.Add(50 * time.Millisecond)
		if a.until.Before(next) && a.until.After(p.now) {
			next = a.until
		}
		p.now = next
		return true
	}
	p.do(a)
	p.now = p.now.Add(time.Millisecond)
	return false
}

func (p *pair) do(a action) {
	n, other := p.serving(), p.second()
	switch a.verb {
	case toLook:
		p.v.looked, p.v.alive, p.v.lived = true, n.alive, n.alive && p.record.Reached > 0
		if !p.sight.alive && other.alive && p.record.Second != nil && p.record.Second.Data != "" {
			p.sight.alive, p.sight.away = true, p.now
		}
	case toStart:
		p.start(a.generation)
	case toAwait:
		p.await()
	case toReach:
		p.record.reach()
		p.v.serves, p.failures = true, 0
	case toAsk:
		p.ask()
	case toCheck:
		p.v.checked = a.generation
	case toChange:
		n.alive = false
		p.lose()
	case toKill:
		n.alive = false
		p.lose()
	case toPromote:
		p.promote()
	case toHandOver:
		if !p.serving().takesWrites() || !p.streams() {
			p.fail()
			return
		}
		p.serving().alive = false
		if p.dies() {
			return
		}
		p.promote()
	default:
		p.doSecond(a)
	}
}

func (p *pair) start(generation int64) {
	n := p.serving()
	p.record.begin(generation)
	if p.dies() {
		return
	}
	if n.broken {
		p.lose()
		p.fail()
		return
	}
	n.data, n.alive, n.stopped, n.part = true, true, false, hasSeveral(p.record.spec(generation))
	n.primary, n.awaits = !n.fenced, n.part && !p.record.InStep.IsZero()
	p.v.alive, p.v.answers, p.v.serves, p.v.looked = true, false, false, true
	p.sight.released = p.record.InStep.IsZero()
}

func (p *pair) await() {
	n := p.serving()
	switch {
	case n.stopped:
		p.mute()
		p.fail()
		p.v.awaited = true
		return
	case p.record.Promoting || p.record.Second != nil:
		n.primary, n.fenced = true, false
		if p.dies() {
			return
		}
		p.record.Promoting = false
	}
	p.v.answers = true
}

func (p *pair) mute() {
	p.v.stopped = true
	if p.v.mute.IsZero() {
		p.v.mute, p.v.silent = p.now, p.now
	}
}

func (p *pair) ask() {
	if p.v.asked = p.now; p.serving().stopped {
		p.mute()
		return
	}
	p.v.stopped, p.v.mute, p.v.silent = false, time.Time{}, time.Time{}
}

func (p *pair) promote() {
	old := p.serving()
	old.alive, p.waiting = false, nil // whose clients were not answered
	old.fenced = old.data
	if p.dies() {
		return
	}
	p.record.failOver("it ended", false, p.now)
	p.failovers++
	if p.making = (time.Time{}); p.dies() {
		return
	}
	n := p.serving()
	p.lose()
	p.sight = secondView{released: true}
	p.v.looked, p.v.alive, p.v.sized, p.failures = true, n.alive, true, 0
	n.primary, n.fenced, n.awaits = true, false, false
	if p.dies() {
		return
	}
	p.record.Promoting, p.v.answers = false, true
	p.checkAcked()
}

// checkAcked looks for what was acknowledged in the node that serves.
func (p *pair) checkAcked() {
	for _, c := range p.acked {
		if !p.serving().has(c) {
			p.fatalf("commit %d was acknowledged and is lost", c)
		}
	}
}

func (p *pair) doSecond(a action) {
	n, other := p.serving(), p.second()
	switch a.verb {
	case toCopy:
		p.making = p.now.Add(time.Duration(p.rand.Int64N(int64(5 * time.Second))))
	case toFollow:
		p.record.Second.Started = a.generation
		if p.dies() {
			return
		}
		if other.broken || !other.data {
			p.failSecond()
			p.sight.away = p.now
			return
		}
		other.alive, other.stopped, other.primary, other.part = true, false, false, true
		p.sight.alive, p.sight.follows, p.sight.away, p.sight.asked = true, false, p.now, time.Time{}
	case toSee:
		p.sight.asked, p.sight.follows = p.now, p.streams() && len(n.log) == len(other.log) ||
			p.streams() && p.sight.follows
		if p.sight.follows {
			p.sight.away = time.Time{}
		} else if p.sight.away.IsZero() {
			p.sight.away = p.now
		}
	case toProtect:
		p.protect()
	case toExpose:
		p.record.InStep = time.Time{}
		if p.dies() {
			return
		}
		if n.stopped {
			p.failSecond()
			return
		}
		n.awaits, p.sight.released = false, true
	case toLeave:
		anew := p.v.second.awayFor(p.now) >= anewPatience
		other.alive, p.sight.alive, p.sight.follows, p.sight.away = false, false, false, p.now
		if p.dies() {
			return
		}
		if p.record.Second.Started = 0; anew {
			p.record.Second.Data = ""
		}
	case toDisband:
		*other = simulated{}
		if p.dies() {
			return
		}
		p.record.leaveSecond()
		p.record.Second, p.record.NodePort = nil, 0
	default:
		p.fatalf("nobody does %s", a.verb)
	}
}

// protect has the primary wait once the second has all that it has.
func (p *pair) protect() {
	n, other := p.serving(), p.second()
	p.sight.released = false
	if !p.streams() {
		p.failSecond()
		return
	}
	n.awaits = true
	other.log = slices.Clip(n.log)
	if p.dies() {
		return
	}
	p.record.InStep, p.sight.failures = p.now, 0
}

func (p *pair) failSecond() {
	p.sight.failures++
	p.sight.retry = p.now.Add(max(backoff(p.sight.failures), seeAgain))
}

func (p *pair) finishMaking() {
	p.making = time.Time{}
	n, other := p.serving(), p.second()
	if !n.takesWrites() || p.record.Second == nil {
		return
	}
	if other.alive {
		p.fatalf("data is made below a process")
	}
	p.sight.failures = 0
	*other = simulated{data: true, fenced: true, log: slices.Clip(n.log)}
	p.record.Second.Data, p.record.Second.Fenced, p.record.Second.Started = dataName(p.record.Data), false, 0
}

// disturb lets something happen to one of the nodes, to the keeper, or to what is wanted. Of what is not protected, the
// only copy is not damaged: that nobody can make good.
func (p *pair) disturb() {
	n := p.places[[]Place{firstPlace, secondPlace}[p.rand.IntN(2)]]
	switch p.rand.IntN(7) {
	case 0, 1:
		p.note("a node dies")
		n.alive = false
	case 2:
		p.note("a node stands still")
		n.stopped = n.alive
	case 3:
		p.note("it goes on")
		n.stopped = false
	case 4:
		p.note("the keeper dies")
		p.forget()
	case 5:
		if n == p.second() && !p.serving().broken ||
			n == p.serving() && !p.record.InStep.IsZero() && !p.second().broken {
			p.note("the data of a node is damaged, the second's: %t", n == p.second())
			n.alive, n.broken = false, true
		}
	case 6:
		if p.record.Reached == p.record.Spec.Generation {
			s := p.record.Spec
			s.Generation, s.Nodes, s.Failovers = s.Generation+1, 1+p.rand.IntN(2), s.Failovers+p.rand.Int64N(2)
			p.note("generation %d is wanted, of %d", s.Generation, s.Nodes)
			p.record.want(s)
			p.record.Allot(&Allotment{NodePort: 1, SecondPort: 2})
		}
	}
}

func (p *pair) settle(d time.Duration) {
	for end, busy := p.now.Add(d), 0; p.now.Before(end); {
		if busy++; p.step() {
			busy = 0
		}
		p.write()
		if busy > 100 {
			p.fatalf("it spins")
		}
	}
}

// TestPairsThroughManySchedules lets thousands of instances of two live through whatever comes, each from a seed of its
// own, while clients write. Nothing that was acknowledged is lost, never do two nodes take writes, and when nothing comes
// any more, each serves, protected if it is to be.
func TestPairsThroughManySchedules(t *testing.T) {
	t.Parallel()
	failovers, seeds := 0, uint64(3_000)
	if testing.Short() {
		seeds = 200
	}
	for seed := range seeds {
		p := newPair(t, rand.New(rand.NewPCG(seed, 2)))
		p.note("seed %d", seed)
		for range p.rand.IntN(30) {
			p.settle(time.Duration(p.rand.Int64N(int64(10 * time.Second))))
			p.disturb()
		}
		for _, n := range p.places {
			n.stopped = false
		}
		p.settle(3 * time.Minute)
		failovers += p.failovers
		p.checkAcked()
		wanted := hasSeveral(p.record.Spec)
		switch {
		case !p.v.serves || !p.serving().takesWrites() || p.record.Reached != p.record.Spec.Generation:
			p.fatalf("it does not serve")
		case wanted && (p.record.InStep.IsZero() || !p.serving().awaits):
			p.fatalf("it is not protected")
		case !wanted && (p.record.Second != nil || p.second().alive):
			p.fatalf("a node is left")
		}
	}
	if t.Logf("%d failovers", failovers); failovers == 0 {
		t.Error("there was no failover")
	}
}

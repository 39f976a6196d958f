package instance

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/node"
)

// simulated is a node of an instance of two in a simulation: what is on its disk, and its process.
type simulated struct {
	data   bool
	broken bool  // no process starts with the data
	sick   bool  // one does, and answers that it is damaged
	fenced bool  // whoever starts with it takes no writes
	log    []int // commits that it has, in order

	alive, stopped bool
	primary        bool // takes writes
	awaits         bool // and acknowledges what the other has only
	part           bool // it was started as one of two

	gone     bool      // its disk is away, with the data
	loads    time.Time // until when it is sent all there is
	copied   bool      // it was, since its process was started
	followed time.Time // when it was sent something last
	cut      bool      // its connection to the primary is
}

func (n *simulated) String() string {
	return fmt.Sprintf("data %t broken %t sick %t gone %t fenced %t, %d commits; alive %t stopped %t primary %t awaits %t part %t "+
		"copied %t cut %t", n.data, n.broken, n.sick, n.gone, n.fenced, len(n.log), n.alive, n.stopped, n.primary, n.awaits, n.part,
		n.copied, n.cut)
}

func (n *simulated) takesWrites() bool { return n.alive && !n.stopped && n.primary }

// pair is an instance of two in a simulation, with the writers of its clients.
type pair struct {
	t       *testing.T
	late    bool // its engine acknowledges before the second has it, as Redis does
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
	ackedAt map[int]time.Time
	waiting []int // for the second
	making  time.Time
	crashed bool // the keeper died in the middle of what it did

	failovers, concessions int
	misled                 bool // reads are to go elsewhere

	ruined  bool           // what served was ended for its data
	reloads map[int64]bool // generations that take no restart
	odd     map[int64]bool // and those that a node which follows cannot start with before the primary has
	stood   time.Time      // since when the second could take over; zero: it could not
	changes int            // with a restart that clients felt as a switchover
}

func newPair(t *testing.T, r *rand.Rand, late bool) *pair {
	p := &pair{t: t, rand: r, late: late, now: time.Unix(1e9, 0), ackedAt: map[int]time.Time{},
		places:  map[Place]*simulated{firstPlace: {}, secondPlace: {}},
		reloads: map[int64]bool{}, odd: map[int64]bool{}}
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
	p.t.Log(p.history[0]) // the seed
	for _, line := range p.history[max(1, len(p.history)-60):] {
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
	p.ruined = false
	p.v, p.sight, p.failures, p.making, p.crashed = view{}, secondView{}, 0, time.Time{}, false
}

func (p *pair) lose() {
	sized := p.v.sized
	p.v = view{sized: sized, retry: p.v.retry, missing: p.v.missing}
	p.ruined = false
}

// failMissing is what comes where the primary's disk is away.
func (p *pair) failMissing() {
	if p.v.missing.IsZero() {
		p.v.missing = p.now
	}
	p.failures++
	p.v.retry = p.now.Add(min(backoff(p.failures), missingPause))
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
	v.checked, v.failed, v.fronted, v.misled = v.generation, p.failures > 1 || p.ruined, true, p.misled
	s := p.sight
	s.inStep, s.alive, s.stopped = !r.InStep.IsZero(), s.alive && p.second().alive, p.second().stopped
	s.making = !p.making.IsZero()
	if r.Failover != nil {
		s.changed = r.Failover.At
	}
	if r.Second != nil {
		s.wanted, s.started = hasSeveral(r.spec(r.Started)), r.Second.Started
		s.due = r.spec(r.Started).Failovers > r.Failovers
		s.there = s.wanted || r.Second.Data != "" || !r.keepsSecond()
		s.data, s.fenced = r.Second.Data != "" && !r.Second.Fenced, r.Second.Fenced
		s.late, s.whole = p.late, r.Second.Whole
	}
	v.second = s
	v.second.later, v.second.stays = hasSeveral(r.spec(v.target())), r.keepsPair(v.target(), versions[0])
	switch could := v.standsBy() && p.streams() && !p.second().broken; {
	case !could:
		p.stood = time.Time{}
	case p.stood.IsZero():
		p.stood = p.now
	}
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
		other.log, other.copied, other.followed = slices.Clip(n.log), true, p.now
	}
	for len(p.waiting) > 0 && (p.late || !n.awaits || other.has(p.waiting[0])) {
		p.ackedAt[p.waiting[0]] = p.now
		p.acked, p.waiting = append(p.acked, p.waiting[0]), p.waiting[1:]
	}
}

// streams tells whether the second follows the primary.
func (p *pair) streams() bool {
	n, other := p.serving(), p.second()
	return n.takesWrites() && n.part && other.alive && !other.stopped && !other.primary && !other.cut &&
		!p.now.Before(other.loads) && other.isBefore(n)
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
		p.sight.alive, p.sight.follows, p.sight.followed, p.sight.away = false, false, false, p.now
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
		if p.v.sized = !n.gone; n.gone {
			p.failMissing()
			if !p.record.hasSpare() {
				return
			}
		}
		p.v.looked, p.v.alive, p.v.lived = true, n.alive, n.alive && p.record.Reached > 0
		if !p.sight.alive && other.alive && p.record.Second != nil && p.record.Second.Data != "" {
			p.sight.alive, p.sight.away = true, p.now
		}
	case toSize:
		if p.v.sized = !n.gone; n.gone {
			p.failMissing()
		} else if !p.v.alive {
			p.v.looked = false
		}
	case toStart:
		ahead := p.v.started != a.generation && p.v.second.started == a.generation
		if ahead && p.v.standsBy() && !other.broken && (!p.late || p.v.second.followed) {
			p.fatalf("the primary is started again, and the second is of generation %d already", a.generation)
		}
		p.start(a.generation)
	case toAwait:
		p.await()
	case toReach:
		p.record.reach()
		p.v.serves, p.v.lived, p.failures = true, true, 0
	case toAsk:
		p.ask()
	case toCheck:
		p.v.checked = a.generation
	case toChange:
		p.change(a.generation)
	case toRestart:
		if !n.sick && p.v.second.stays && !p.stood.IsZero() && p.now.Sub(p.stood) >= 2*seeEvery {
			p.fatalf("the primary is ended for generation %d, and the second stood by", a.generation)
		}
		n.alive = false
		p.sight.failures = 0
		p.lose()
	case toKill:
		n.alive = false
		ruined := p.v.isDamaged()
		if ruined && (!n.sick || p.record.InStep.IsZero()) {
			p.fatalf("what is the only node with all data is ended for its damage")
		}
		p.lose()
		p.ruined = ruined
	case toPromote:
		p.replace()
	case toConcede:
		p.concede()
	case toRoute:
		if !p.serving().takesWrites() && !n.stopped {
			p.fatalf("reads are sent to nobody")
		}
		p.misled = false
	case toHandOver:
		if !p.serving().takesWrites() || !p.streams() || n.sick {
			p.fail()
			return
		}
		n.alive, other.log, other.followed = false, slices.Clip(n.log), p.now
		if p.dies() {
			return
		}
		p.promote()
	default:
		p.doSecond(a)
	}
}

// change puts a generation in force without a restart, or finds that it takes one.
func (p *pair) change(generation int64) {
	n := p.serving()
	if n.stopped {
		p.mute()
		p.fail()
		return
	}
	if n.sick && p.v.answers && p.v.silent.IsZero() {
		p.noteDamage()
		p.fail()
		return
	}
	if !n.sick && p.reloads[generation] && n.part == hasSeveral(p.record.spec(generation)) && !p.record.asksForRestart(generation) {
		p.record.begin(generation)
		p.v.answers, p.v.serves = false, false
		return
	}
	p.v.restart, p.v.found = generation, p.now
}

func (p *pair) start(generation int64) {
	n := p.serving()
	if n.gone {
		p.lose()
		p.failMissing()
		return
	}
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
	p.v.alive, p.v.lived, p.v.answers, p.v.serves, p.v.looked, p.v.missing = true, false, false, false, true, time.Time{}
	p.sight.released, p.ruined = p.record.InStep.IsZero(), false
}

func (p *pair) await() {
	n := p.serving()
	switch {
	case n.stopped:
		p.mute()
		p.fail()
		p.v.awaited = true
		return
	case n.sick:
		p.noteDamage()
		p.now = p.now.Add(node.DamagePatience)
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
	if p.v.stopped, p.v.mute = false, (time.Time{}); p.serving().sick {
		p.noteDamage()
		return
	}
	p.v.silent, p.v.damaged = time.Time{}, time.Time{}
}

// noteDamage is what comes where the primary answers that its data is damaged.
func (p *pair) noteDamage() {
	p.v.silent = cmp.Or(p.v.silent, p.now)
	p.v.damaged = cmp.Or(p.v.damaged, p.now)
}

// replace promotes the second if it is ready for that.
func (p *pair) replace() {
	n := p.second()
	switch {
	case !p.late:
	case p.rand.IntN(5) == 0:
		p.note("it is not known whether the second is ready")
		p.failSecond()
		return
	case !n.copied || p.now.Sub(n.followed) > time.Minute:
		p.note("the second is not ready")
		p.record.InStep = time.Time{}
		return
	case !p.v.second.followed:
		if !p.v.failed {
			p.fatalf("a second takes over that was not seen to follow, and nobody has tried to start the primary")
		}
		p.forgive(n)
	}
	p.promote()
}

// concede promotes the second though it lacks something, and forgets what that is.
func (p *pair) concede() {
	n := p.second()
	if !p.serving().gone {
		p.v.missing = time.Time{}
		p.fail()
		return
	}
	if len(n.log) == 0 && len(p.acked) > 0 {
		p.fatalf("a node with nothing takes the place of one that served")
	}
	if n.copied = true; p.dies() {
		return
	}
	p.concessions++
	p.forgive(n)
	p.promote()
}

// forgive forgets what was acknowledged and is not in the node.
func (p *pair) forgive(n *simulated) {
	p.acked = slices.DeleteFunc(p.acked, func(c int) bool { return !n.has(c) })
}

func (p *pair) promote() {
	if p.late && !p.second().copied {
		p.fatalf("a second takes over that has had no copy since it was started")
	}
	old := p.serving()
	old.alive, p.waiting = false, nil // whose clients were not answered
	old.fenced = old.data && !old.gone
	if p.dies() {
		return
	}
	p.record.failOver("it ended", false, p.now)
	p.failovers++
	p.misled = true
	if p.record.Reached != p.record.Started {
		p.changes++
	}
	if p.late {
		p.checkMoment(p.serving())
	}
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

func (p *pair) doSecond(a action) {
	n, other := p.serving(), p.second()
	switch a.verb {
	case toCopy:
		p.making = p.now.Add(time.Duration(p.rand.Int64N(int64(5 * time.Second))))
	case toFollow:
		if p.record.Second.Started = a.generation; p.late {
			p.record.InStep = time.Time{}
		}
		if p.dies() {
			return
		}
		if other.broken || !other.data || p.odd[a.generation] && a.generation != p.record.Started {
			p.failSecond()
			p.sight.away = p.now
			return
		}
		other.alive, other.stopped, other.primary, other.part, other.copied, other.cut = true, false, false, true, false, false
		p.sight.alive, p.sight.follows, p.sight.followed, p.sight.away, p.sight.asked = true, false, false, p.now, time.Time{}
		p.misled = true
		if p.late {
			other.loads = p.now.Add(time.Duration(p.rand.Int64N(int64(3 * time.Second))))
		}
	case toSee:
		p.sight.asked, p.sight.follows = p.now, p.streams() && len(n.log) == len(other.log) ||
			p.streams() && p.sight.follows
		if !n.stopped {
			p.sight.followed = p.sight.follows
		}
		if p.sight.follows {
			p.sight.away = time.Time{}
		} else if p.sight.away.IsZero() {
			p.sight.away = p.now
		}
	case toProtect:
		p.protect()
	case toExpose:
		if n.sick && !n.stopped && !p.record.InStep.IsZero() {
			p.noteDamage()
			p.failSecond()
			return
		}
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
		anew := p.record.InStep.IsZero() && p.v.second.awayFor(p.now) >= anewPatience
		p.making = time.Time{}
		other.alive, p.sight.alive, p.sight.follows, p.sight.away = false, false, false, p.now
		if p.dies() {
			return
		}
		if p.record.Second.Started = 0; anew {
			p.record.Second.Data, p.record.Second.Whole = "", false
		}
	case toDisband:
		*other = simulated{}
		if p.dies() {
			return
		}
		if p.record.leaveSecond(); !p.record.keepsSecond() {
			p.record.Second, p.record.NodePort = nil, 0
		}
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
	other.log, other.copied, other.followed = slices.Clip(n.log), true, p.now
	if p.dies() {
		return
	}
	p.record.InStep, p.record.Second.Whole, p.sight.failures = p.now, true, 0
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
	*other = simulated{data: true, fenced: true}
	if !p.late { // it is sent everything when it follows
		other.log = slices.Clip(n.log)
	}
	*p.record.Second = Second{Port: p.record.Second.Port, Data: dataName(p.record.Data)}
}

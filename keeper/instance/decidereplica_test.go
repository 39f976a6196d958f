package instance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
)

// lone is a replica in a simulation, and as much of the rest of its instance as it depends on.
type lone struct {
	t       *testing.T
	rand    *rand.Rand
	now     time.Time
	history []string

	record Record
	serves bool // the primary does

	data    string // on its disk
	follows int64  // the term of the primary that the data can follow
	broken  bool   // no process starts with the data
	alive   bool
	stopped bool // it follows nobody while it is
	runs    int64
	calm    bool // nothing happens any more
	v       replicaView
}

func (l *lone) note(format string, args ...any) {
	l.history = append(l.history, l.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (l *lone) fatalf(format string, args ...any) {
	l.t.Helper()
	l.t.Log(l.history[0]) // the seed
	for _, line := range l.history[max(1, len(l.history)-60):] {
		l.t.Log(line)
	}
	l.t.Fatalf("%s\nview %+v\nreplicas %+v of term %d", fmt.Sprintf(format, args...), l.v, l.record.Replicas, l.record.Term)
}

// look brings the view up to date.
func (l *lone) look() {
	r, v := l.record, &l.v
	rep, i := r.replica("3")
	if i < 0 {
		return
	}
	v.wanted, v.kept, v.serves = r.wantsReplica("3"), r.keepsReplica("3"), l.serves
	if v.alive && !l.alive {
		l.note("its process is seen to have ended")
		v.alive, v.follows, v.away = false, false, l.now
		l.fail()
	}
	v.data, v.current = rep.Data != "" && rep.Data == dataName(r.Data), rep.Term == r.Term
	v.started, v.generation = rep.Started, r.Started
	v.stopped = v.alive && l.stopped
	if !v.serves && !v.away.IsZero() {
		v.away = l.now
	}
}

func (l *lone) fail() {
	l.v.failures++
	l.v.retry = l.now.Add(max(backoff(l.v.failures), seeAgain))
}

// streams tells whether the replica follows the primary.
func (l *lone) streams() bool {
	return l.serves && l.alive && !l.stopped && l.follows == l.record.Term && l.data == dataName(l.record.Data) &&
		hasSeveral(l.record.spec(l.record.Started))
}

// step does what is to be done, unless the keeper dies first. It reports whether that took time.
func (l *lone) step() (rested bool) {
	l.look()
	rep, i := l.record.replica("3")
	if i < 0 {
		return true
	}
	rep = l.record.Replicas[i]
	next, until := l.v.next(l.now)
	if next == toRest {
		l.now = l.now.Add(min(max(until.Sub(l.now), time.Millisecond), seeEvery))
		return true
	}
	l.note("%s", next)
	if !l.calm && l.rand.IntN(40) == 0 {
		l.note("the keeper dies")
		l.v = replicaView{}
		return true
	}
	l.do(next, &rep)
	if _, i := l.record.replica("3"); i >= 0 {
		l.record.Replicas[i] = rep
	}
	return false
}

func (l *lone) do(next verb, rep *Replica) {
	v := &l.v
	switch next {
	case toLook:
		if v.looked, v.alive = true, l.alive; v.alive {
			v.away, v.asked, v.follows = l.now, time.Time{}, false
		}
	case toLeave:
		if anew := v.awayFor(l.now) >= anewPatience; anew {
			rep.Data = ""
		}
		l.alive, l.stopped, rep.Started = false, false, 0
		v.alive, v.follows, v.away = false, false, l.now
	case toCopy, toRejoin:
		l.make(next, rep)
	case toFollow:
		if l.alive || rep.Term != l.record.Term || l.data != dataName(l.record.Data) {
			l.fatalf("it is started: alive %t, with data %q of term %d", l.alive, l.data, rep.Term)
		}
		l.alive, l.runs, rep.Started = !l.broken, l.record.Started, l.record.Started
		v.alive, v.follows, v.away, v.asked = true, false, l.now, time.Time{}
	case toSee:
		v.asked = l.now
		if v.follows = l.streams(); v.follows {
			v.away, v.failures = time.Time{}, 0
		} else if v.away.IsZero() {
			v.away = l.now
		}
	case toDisband:
		if l.alive || !l.serves || l.record.keepsReplica("3") {
			l.fatalf("it is disbanded while it runs: %t, and the primary serves: %t", l.alive, l.serves)
		}
		l.data, l.broken, l.record.Replicas = "", false, nil
	default:
		l.fatalf("nobody knows how to %s", next)
	}
}

// make copies the primary, or has data rejoin it, which it need not be able to.
func (l *lone) make(how verb, rep *Replica) {
	if l.alive || !l.serves || !l.v.wanted {
		l.fatalf("its data is made while it runs: %t, the primary serves: %t, it is wanted: %t", l.alive, l.serves, l.v.wanted)
	}
	if how == toRejoin && (l.data != dataName(l.record.Data) || l.rand.IntN(4) == 0) {
		l.note("which takes a copy")
	} else if how == toRejoin && l.broken {
		l.fail()
		return
	}
	if l.rand.IntN(10) == 0 {
		l.note("it fails")
		rep.Data, l.data = "", ""
		l.fail()
		return
	}
	l.now = l.now.Add(time.Duration(l.rand.IntN(5)) * time.Second)
	*rep = Replica{Place: rep.Place, Data: dataName(l.record.Data), Term: l.record.Term}
	l.data, l.follows, l.broken = rep.Data, rep.Term, false
	l.v.failures = 0
}

// disturb lets something happen.
func (l *lone) disturb() {
	switch l.rand.IntN(10) {
	case 0:
		l.note("the replica dies")
		l.alive = false
	case 1:
		l.stopped = l.alive
		l.note("the replica stands still: %t", l.stopped)
	case 2:
		l.broken, l.alive = true, false
		l.note("its data is damaged")
	case 3:
		l.note("the keeper dies")
		l.v = replicaView{}
	case 4:
		l.serves = l.rand.IntN(2) == 0
		l.note("the primary serves: %t", l.serves)
	case 5:
		l.record.Term++
		l.note("another primary, of term %d", l.record.Term)
	case 6:
		l.record.Data = fmt.Sprintf("data-%d", l.record.Term)
		l.record.leaveReplicas()
		l.note("other data: %s", l.record.Data)
	case 7:
		n := l.rand.IntN(4)
		s := l.record.Spec
		s.Generation, s.Nodes, s.Reading = s.Generation+1, 1+min(l.rand.IntN(4), 1), backend.Reading{Replicas: &n}
		l.record.Reached = l.record.Spec.Generation
		l.record.want(s)
		l.record.Allot(&Allotment{ReplicaPorts: make([]int, min(l.record.LacksReplicas(s), 1))})
		l.note("generation %d is wanted, of %d nodes, %d to read from", s.Generation, s.Nodes, n)
	case 8:
		l.follows = -1
		l.note("its data can follow no more")
	case 9:
		l.record.begin(l.record.Spec.Generation)
		l.note("generation %d is started", l.record.Started)
	}
}

// TestReplicaIsKept through schedules of faults and wishes that a seed repeats: its data is never made while it runs, it
// is started with nothing but what follows the primary, nothing is done again and again without a pause, and when all is
// calm, it follows if it is wanted, and is gone if not.
func TestReplicaIsKept(t *testing.T) {
	t.Parallel()
	followed, gone := 0, 0
	for seed := range seeds(2_000) {
		three := 3
		l := &lone{t: t, rand: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1e9, 0), serves: true}
		l.note("seed %d", seed)
		l.record.Spec = backend.Spec{Generation: 1, Nodes: 2, Reading: backend.Reading{Replicas: &three}}
		l.record.Second, l.record.Started, l.record.Reached = &Second{}, 1, 1
		l.record.Replicas = []Replica{{Place: "3"}}
		for range 30 {
			l.disturb()
			l.pass(l.rand.IntN(20))
		}
		l.serves, l.stopped, l.calm = true, false, true
		l.record.begin(l.record.Spec.Generation)
		l.note("all is calm")
		for calm := l.now; l.now.Sub(calm) < 10*time.Minute; {
			l.pass(1)
		}
		switch _, i := l.record.replica("3"); {
		case i >= 0 && l.record.wantsReplica("3") && (!l.streams() || l.runs != l.record.Started):
			l.fatalf("it does not follow")
		case i >= 0 && l.record.wantsReplica("3"):
			followed++
		case i >= 0 || l.data != "" || l.alive:
			l.fatalf("nobody wants it, and it is there: %d, data %q, alive %t", i, l.data, l.alive)
		default:
			gone++
		}
	}
	t.Logf("at the end, %d follow and %d are gone", followed, gone)
}

// pass lets it rest so often.
func (l *lone) pass(rests int) {
	for acts := 0; rests > 0; {
		if l.step() {
			rests, acts = rests-1, 0
			if _, i := l.record.replica("3"); i < 0 {
				l.now = l.now.Add(seeEvery)
			}
		} else if acts++; acts > 10 {
			l.fatalf("it does not come to rest")
		}
	}
}

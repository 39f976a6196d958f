package instance

import (
	"math/rand/v2"
	"testing"
	"time"
)

// disturb lets something happen to one of the nodes, to the keeper, or to what is wanted. Of what is not protected, the
// only copy is not damaged: that nobody can make good.
func (p *pair) disturb() {
	n := p.places[[]Place{firstPlace, secondPlace}[p.rand.IntN(2)]]
	events := 9
	if p.late {
		events = 10
	}
	event := p.rand.IntN(events)
	if p.late && p.serving().isHarmed() { // of two faults at once, that the other node stands still or dies is one too many
		event = 4
	}
	switch event {
	case 0, 1:
		p.note("a node dies")
		n.alive = false
	case 2:
		p.note("a node stands still")
		n.stopped = n.alive && !n.sick // that would be two faults of it
	case 3:
		p.note("it goes on")
		n.stopped = false
	case 4:
		p.note("the keeper dies")
		p.forget()
		if p.late && !p.serving().isHarmed() && p.rand.IntN(2) == 0 {
			p.stayAway()
		}
	case 5:
		if n == p.second() && !p.serving().isHarmed() && !p.serving().gone ||
			n == p.serving() && p.canBeHarmed() {
			p.note("the data of a node is damaged, the second's: %t", n == p.second())
			n.alive, n.broken = false, true
		}
	case 6:
		if p.record.Reached > 0 {
			s := p.record.Spec
			s.Generation, s.Nodes, s.Failovers = s.Generation+1, 1+min(p.rand.IntN(4), 1), s.Failovers+p.rand.Int64N(2)
			s.Restarts += p.rand.Int64N(2)
			p.reloads[s.Generation], p.odd[s.Generation] = p.rand.IntN(2) == 0, p.rand.IntN(4) == 0
			p.note("generation %d is wanted, of %d, with %d restarts", s.Generation, s.Nodes, s.Restarts)
			p.record.want(s)
			p.record.Allot(&Allotment{NodePort: 1, SecondPort: 2})
		}
	case 7:
		p.moveDisk()
	case 8:
		if p.canBeHarmed() && !p.serving().stopped {
			p.note("the primary answers that its data is damaged")
			p.serving().sick = true
		}
	case 9:
		n.cut = !n.cut
		p.note("a node is cut off: %t", n.cut)
	}
}

// isHarmed tells whether no process serves with the data.
func (n *simulated) isHarmed() bool { return n.broken || n.sick }

// canBeHarmed tells whether the second has all that the primary has.
func (p *pair) canBeHarmed() bool {
	return !p.record.InStep.IsZero() && !p.second().isHarmed() && (!p.late || p.streams())
}

// stayAway lets clients write while there is no keeper, until the second has died, or was cut off, and then the primary.
func (p *pair) stayAway() {
	if p.second().cut = true; p.rand.IntN(2) == 0 {
		p.second().alive = false
	}
	for range p.rand.IntN(400) {
		p.now = p.now.Add(50 * time.Millisecond)
		p.write()
	}
	p.note("another keeper comes")
	p.serving().alive = false
}

// moveDisk takes the disk of the primary away, or brings it back.
func (p *pair) moveDisk() {
	n := p.serving()
	switch {
	case n.gone:
		p.note("the disk of the primary is back")
		n.gone = false
	case n.data && !p.second().isHarmed() && !n.isHarmed():
		p.note("the disk of the primary is gone")
		n.gone, n.alive = true, false
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
	failovers, _, changes := livePairs(t, false, 1_200)
	if t.Logf("%d failovers, %d of them for a change", failovers, changes); failovers == 0 || changes == 0 {
		t.Error("there was no failover, or none for a change")
	}
}

// TestLatePairsThroughManySchedules is the same where nobody waits for a standby, as with Redis: it never takes over
// when it was not following at the end, unless the primary's data is gone, and what was acknowledged before the last
// moment is there.
func TestLatePairsThroughManySchedules(t *testing.T) {
	t.Parallel()
	failovers, concessions, _ := livePairs(t, true, 600)
	if t.Logf("%d failovers, %d concessions", failovers, concessions); failovers == 0 || concessions == 0 {
		t.Error("there was no failover, or none with what was left")
	}
}

func livePairs(t *testing.T, late bool, schedules float64) (failovers, concessions, changes int) {
	for seed := range seeds(schedules) {
		p := newPair(t, rand.New(rand.NewPCG(seed, 2)), late)
		p.note("seed %d", seed)
		for range p.rand.IntN(30) {
			if p.rand.IntN(4) == 0 { // much comes at once
				for range p.rand.IntN(8) {
					p.step()
					p.write()
				}
			} else {
				p.settle(time.Duration(p.rand.Int64N(int64(10 * time.Second))))
			}
			p.disturb()
		}
		p.calm()
		failovers, concessions, changes = failovers+p.failovers, concessions+p.concessions, changes+p.changes
	}
	return failovers, concessions, changes
}

// calm lets nothing come any more, and looks how the instance is then.
func (p *pair) calm() {
	p.t.Helper()
	for _, n := range p.places {
		n.stopped, n.cut = false, false
	}
	if s := p.record.Second; p.serving().gone && (s == nil || !s.Whole || !p.late && p.record.InStep.IsZero()) {
		p.moveDisk() // there is nothing else left
	}
	p.settle(3 * time.Minute)
	for range 5 { // more of them where data is gone, and keepers die on the way from that
		if p.serving().gone {
			p.settle(3 * time.Minute)
		}
	}
	p.checkAcked()
	wanted := hasSeveral(p.record.Spec)
	switch {
	case p.misled:
		p.fatalf("reads go where they are not to")
	case p.serving().sick:
		p.fatalf("what is damaged serves")
	case !p.v.serves || !p.serving().takesWrites() || p.record.Reached != p.record.Spec.Generation:
		p.fatalf("it does not serve")
	case wanted && (p.record.InStep.IsZero() || !p.serving().awaits):
		p.fatalf("it is not protected")
	case !wanted && (p.record.Second != nil || p.second().alive):
		p.fatalf("a node is left")
	}
}

// lastMoment is how much of what was acknowledged a second may lack that takes over, where nobody waits for it: from when
// it is not sent anything more, to when it is noted that it is not in step.
const lastMoment = seeEvery + latePatience + 200*time.Millisecond

// checkMoment looks for what was acknowledged in a node that was promoted. The last moment of it may be lost.
func (p *pair) checkMoment(n *simulated) {
	if len(p.acked) == 0 {
		return
	}
	end := p.ackedAt[p.acked[len(p.acked)-1]]
	for _, c := range p.acked {
		if at := p.ackedAt[c]; !n.has(c) && end.Sub(at) > lastMoment {
			p.fatalf("commit %d, which was acknowledged %v before the end, is lost", c, end.Sub(at))
		}
	}
	p.forgive(n)
}

// checkAcked looks for what was acknowledged in the node that serves.
func (p *pair) checkAcked() {
	for _, c := range p.acked {
		if !p.serving().has(c) {
			p.fatalf("commit %d was acknowledged and is lost", c)
		}
	}
}

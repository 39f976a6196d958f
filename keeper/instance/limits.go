package instance

import (
	"fmt"
	"math"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// ourWeight is that of our own databases: what tenants do must not keep the control plane waiting.
const ourWeight = 10 * cgroup.Usual

// limitsOf are those of the group of an instance's processes. Our own databases have no limit but their disk.
func limitsOf(n node.Node, s backend.Spec) cgroup.Limits {
	if s.Private {
		return cgroup.Limits{Weight: ourWeight}
	}
	l := cgroup.Limits{Weight: weightOf(s.Size.Memory)}
	if e, ok := n.Engine.(engine.Bounded); ok {
		bounds := e.Bounds(n.Node)
		l.Memory, l.Processes = bounds.Memory, bounds.Processes
	}
	if has := Memory(); has > 0 { // one instance alone must not take all that the machine has
		l.Memory = min(l.Memory, has-has/8)
	}
	return l
}

// smallest is the memory of the plans that have the usual weight.
const smallest = 512 * backstay.MB

// weightOf is an instance's part of processor and disk by its plan's memory: twice as much for four times the memory.
// What is larger is more, and what is small is not nothing beside it.
func weightOf(memory backstay.Bytes) int {
	part := math.Sqrt(float64(memory) / float64(smallest))
	return min(max(int(part*cgroup.Usual), cgroup.Usual), 8*cgroup.Usual)
}

// toll is how often the kernel has refused something to the processes of an instance.
type toll struct {
	known bool // count was read
	count int64
	last  time.Time // when it was seen last that there are more; zero: that is told no more
}

// tollTold is how long users read of what was refused: whoever comes in the morning still finds the reason for the
// errors of the evening before.
const tollTold = 12 * time.Hour

// add takes the count that the kernel tells now. It reports whether there are more than before, and whether the last
// ones are not to be told any more. What there was before the first call is an earlier keeper's to tell.
func (t *toll) add(count int64, now time.Time) (more, over bool) {
	more = t.known && count > t.count
	t.known, t.count = true, count
	if more {
		t.last = now
	}
	if over = !t.last.IsZero() && now.Sub(t.last) >= tollTold; over {
		t.last = time.Time{}
	}
	return more, over
}

// isRecent tells whether there were more a moment ago.
func (t *toll) isRecent(now time.Time) bool { return !t.last.IsZero() && now.Sub(t.last) < time.Minute }

// gauge notices what the kernel has refused to the instance's processes since the last call, and tells of it for a
// time. Why one was killed for want of memory, if one was, goes on with a sentence that has begun.
func (in *Instance) gauge() (killed string) {
	now, told := in.m.Now(), in.m.Groups.Look(string(in.Record().Home()))
	at := now.UTC().Format("15:04")
	in.seen.met.add(told.Met, now)
	because, help := outOfMemory(in.seen.met.isRecent(now), in.plan().Memory)
	if in.meter("memory", &in.seen.killed, told.Killed, now, fmt.Sprintf("At %s UTC a process of the database was ended: "+
		"%s. %s", at, because, help)) {
		killed = because
	}
	in.forgetFall(now)
	in.meter("processes", &in.seen.denied, told.Denied, now, fmt.Sprintf("At %s UTC the database could not start another "+
		"process: clients held more connections than the plan's %d. A plan with more of them helps, or a pool in the app.",
		at, in.plan().Connections))
	return killed
}

// outOfMemory says why a process was killed for want of memory, and what helps. Who has not met the limit of its own
// plan of late was in the way when the machine itself had none left.
func outOfMemory(own bool, plan backstay.Bytes) (because, help string) {
	if own {
		return fmt.Sprintf("it needed more than the plan's %s of memory", plan),
			"Queries that take less of it help, or a plan with more."
	}
	return "the machine had no memory left", "It has not used up that of its plan: the operator can help."
}

// meter adds to a toll, and tells of what there is more of as a trouble.
func (in *Instance) meter(kind string, t *toll, count int64, now time.Time, sentence string) (more bool) {
	more, over := t.add(count, now)
	switch {
	case more:
		in.log.Warn("the kernel has refused something to an instance", "what", kind, "times", count)
		in.complain(kind, sentence)
	case over:
		in.complain(kind, "")
	}
	return more
}

// plan is the size that the process was started with.
func (in *Instance) plan() backstay.Size {
	r := in.Record()
	return r.spec(r.Started).Size
}

// explain is why the process has ended.
func (in *Instance) explain() error {
	if because := in.gauge(); because != "" {
		return backstay.Errorf(backstay.Unavailable, "The engine ended: %s.", because)
	}
	in.noteFall(in.seen.node.Reason())
	return in.seen.node.Explain()
}

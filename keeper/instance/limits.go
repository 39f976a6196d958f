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

// starvedTold is how long users read that a process was killed for want of memory: whoever comes in the morning still
// finds the reason for the errors of the evening before.
const starvedTold = 12 * time.Hour

// countKills notices processes of the instance that the kernel has killed because they needed more memory than the plan
// has, tells of the last of them for a time, and reports whether there is a new one.
func (in *Instance) countKills() (found bool) {
	s, now := &in.seen, in.m.Now()
	killed := in.m.Groups.Look(string(in.ID)).Killed
	found = s.gauged && killed > s.killed
	s.gauged, s.killed = true, killed
	switch {
	case found:
		in.log.Warn("the kernel has killed a process for want of memory", "killed", killed, "limit", s.node.Limits.Memory)
		s.starved = now
		in.complain("memory", fmt.Sprintf("At %s UTC a process of the database was ended: it needed more than the plan's %s "+
			"of memory. Queries that take less of it help, or a plan with more.", now.UTC().Format("15:04"), in.memory()))
	case !s.starved.IsZero() && now.Sub(s.starved) >= starvedTold:
		s.starved = time.Time{}
		in.complain("memory", "")
	}
	return found
}

// memory is that of the plan that the process was started with.
func (in *Instance) memory() backstay.Bytes {
	r := in.Record()
	return r.spec(r.Started).Size.Memory
}

// explain is why the process has ended.
func (in *Instance) explain() error {
	if in.countKills() {
		const because = "The engine ended: it needed more than the plan's %s of memory."
		return backstay.Errorf(backstay.Unavailable, because, in.memory())
	}
	return in.seen.node.Explain()
}

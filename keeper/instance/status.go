package instance

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// newStatus is what is told of an instance before anything of it was seen.
func newStatus(m *Machine, r Record) backend.Status {
	st := backend.Status{
		Instance: r.Spec.Instance, Revision: m.Now().UnixNano(), Generation: r.Reached, Wanted: r.Spec.Generation,
		Phase: backend.Preparing, Message: "The data directory is being prepared.", Obstacle: r.Obstacle,
	}
	if r.Reached > 0 { // most often it runs, and no user has noticed anything
		st.Build, st.Restored = r.Installation.FullVersion, r.Restored
		st.Phase, st.Message = backend.Starting, "The keeper has been started, and looks for the engine."
		st.Down = m.Now()
	}
	if r.Port != 0 {
		st.Endpoint, st.Reads = backstay.Endpoint{Host: m.Host, Port: r.Port}, m.reads(r)
	}
	return st
}

// Look returns the status, and what is closed when it changes.
func (in *Instance) Look() (backend.Status, <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.status, in.changed
}

// Await returns the status once its revision is greater than the one that was seen, or when ctx ends.
func (in *Instance) Await(ctx context.Context, seen int64) backend.Status {
	in.surpass(seen)
	for {
		status, changed := in.Look()
		if status.Revision > seen {
			return status
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status
		}
	}
}

// Unwell tells whether the instance does not serve as it is wanted, or has troubles.
func (in *Instance) Unwell() bool {
	status, _ := in.Look()
	return status.Unwell(in.m.Now())
}

// complain tells of a trouble of the instance, in the place of one of that kind that was told before. With an empty
// sentence it is over.
func (in *Instance) complain(kind, sentence string) {
	in.report(func(st *backend.Status) {
		others := slices.DeleteFunc(slices.Clone(st.Troubles), func(t backstay.Trouble) bool { return t.Kind == kind })
		if sentence != "" {
			others = append(others, backstay.Trouble{Kind: kind, Sentence: sentence})
		}
		slices.SortFunc(others, func(a, b backstay.Trouble) int { return strings.Compare(a.Kind, b.Kind) })
		st.Troubles = others
	})
}

// report makes a change of the status known, unless it is none. The change may ask the instance what it likes, but
// reports nothing itself. Revisions are instants, so that they grow over restarts of the keeper too.
func (in *Instance) report(change func(*backend.Status)) {
	in.reports.Lock()
	defer in.reports.Unlock()
	before, _ := in.Look()
	after := in.asKept(before)
	change(&after)
	after = after.After(before, in.m.Now())
	unseen := in.veil(&after)
	if p := after.Phase; p != backend.Removing {
		after.Nodes = in.nodes(p)
		r := in.Record()
		after.Protected, after.Failover, after.Drill, after.Reads = r.InStep, r.Failover, r.lastDrill(), in.m.reads(r)
	}
	if unseen || !after.Same(before) {
		after.Revision = max(before.Revision+1, in.m.Now().UnixNano())
		in.publish(after)
	}
}

// noteSecond tells what was seen of the second.
func (in *Instance) noteSecond(v secondView) {
	r := in.Record()
	now := backend.NodeStatus{}
	if v.there && v.wanted {
		now = backend.NodeStatus{Name: r.Place.other().name(), Role: backend.Standby, Phase: v.phase()}
		if behind := in.seen.second.behind.Behind; v.follows && behind >= backstay.MB {
			now.Lag = behind
		}
		now.LagSeconds = int64(in.seen.second.lag() / time.Second)
	}
	in.mu.Lock()
	before := in.second
	in.second = now
	in.mu.Unlock()
	if now != before {
		in.report(func(*backend.Status) {})
	}
}

// phase is where the second is on its way.
func (v secondView) phase() backend.Phase {
	switch {
	case v.alive && v.follows && v.inStep:
		return backend.Running
	case v.alive:
		return backend.Starting
	case v.making || !v.data:
		return backend.Preparing
	}
	return backend.Failing
}

// nodes are those of the instance, whose primary is in that phase.
func (in *Instance) nodes(primary backend.Phase) []backend.NodeStatus {
	in.mu.Lock()
	defer in.mu.Unlock()
	nodes := []backend.NodeStatus{{Name: in.record.Place.name(), Role: backend.Primary, Phase: primary}}
	switch second := in.second; {
	case second.Name == "":
	case second.Name == in.record.Place.name(): // it takes over, and was not looked at since: what served is to follow
		former := backend.NodeStatus{Name: in.record.Place.other().name(), Role: backend.Standby, Phase: backend.Preparing}
		nodes = append(nodes, former)
	default:
		nodes = append(nodes, second)
	}
	for _, f := range in.followers {
		if s := f.published().status; s.Name != "" {
			nodes = append(nodes, s)
		}
	}
	for i := range nodes {
		nodes[i].Reads = slices.Contains(in.readers, nodes[i].Name)
	}
	return nodes
}

// asKept is the status with the phase that it would have if the instance were not being removed.
func (in *Instance) asKept(st backend.Status) backend.Status {
	in.mu.Lock()
	defer in.mu.Unlock()
	st.Phase = in.phase
	return st
}

// veil remembers the phase, and tells of an instance that is being removed nothing but that. It reports whether the
// phase is another one than before: whoever takes its last backup waits for that.
func (in *Instance) veil(st *backend.Status) (changed bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	changed = in.phase != st.Phase
	in.phase = st.Phase
	if in.record.Removing {
		st.Phase, st.Message = backend.Removing, in.parting
	}
	return changed
}

// surpass makes the revision greater than one that somebody has seen: an earlier keeper gave it,
// before the clock was set back.
func (in *Instance) surpass(seen int64) {
	in.reports.Lock()
	defer in.reports.Unlock()
	if status, _ := in.Look(); status.Revision < seen && seen < math.MaxInt64 {
		status.Revision = seen + 1
		in.publish(status)
	}
}

// publish wakes those who wait for a newer status. in.reports is held.
func (in *Instance) publish(status backend.Status) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.status = status
	close(in.changed)
	in.changed = make(chan struct{})
}

// enter reports a phase in which nobody is served.
func (in *Instance) enter(p backend.Phase, format string, args ...any) {
	in.report(func(st *backend.Status) { st.Phase, st.Message = p, fmt.Sprintf(format, args...) })
}

// sentence is what a user may read of err.
func sentence(err error) string {
	if backstay.KindOf(err) == backstay.Internal {
		return "The engine does not start, for a reason that only the operator's log tells."
	}
	return WithoutPaths(backstay.SentenceOf(err))
}

// absolutePath matches an absolute path of more than one name, but no URL.
var absolutePath = regexp.MustCompile("(^|[\\s\"'`(=,])(?:/[^\\s/\"'`(),]+)+/([^\\s/\"'`(),]+)/?")

// WithoutPaths returns a sentence for users: of each path in it, as engines name files when they tell why they ended,
// the last name is left. Where it lies on the machine only its operator is to know, who finds it in the log.
func WithoutPaths(sentence string) string { return absolutePath.ReplaceAllString(sentence, "$1$2") }

package instance

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/node"
)

// How long a change that takes a restart waits for the second, which comes to the generation first: until it stands by,
// and until it has taken over. Then the primary is started again in its place.
const (
	aheadPatience    = time.Minute
	takeOverPatience = 5 * time.Minute
)

// goesAhead tells whether the second comes to the target first and takes over then, so that clients feel no more of a
// restart than of a switchover. They go on with the primary meanwhile. A second that is still to be copied is not
// waited for, nor one that has failed again and again: it may be the generation that does not start.
func (v view) goesAhead(now time.Time) bool {
	s, target := v.second, v.target()
	switch {
	case v.restart != target || v.started == target || !v.answers:
		return false
	case !s.stays || !s.data && !s.fenced || s.failures >= wornAfter:
		return false
	}
	patience := aheadPatience
	if v.standsBy() && s.started == target {
		patience = takeOverPatience
	}
	return now.Sub(v.found) < patience
}

// ofSecond is the generation that the second is to run.
func (v view) ofSecond(now time.Time) int64 {
	if target := v.target(); v.goesAhead(now) || v.second.stays && v.second.started == target {
		return target
	}
	return v.started
}

// takesOver tells whether the second takes over now from a primary that serves, where it is to. Next is what is due for
// the second.
func (v view) takesOver(next verb, now time.Time) bool {
	ready := v.standsBy() && v.second.follows && v.second.started == v.ofSecond(now)
	return ready && v.speaks() && (next == "" || next == toSee)
}

// keepsPair tells whether both nodes go on with a generation as they are: on the same data, and with no less room than
// the primary has, which what follows it must have. A smaller plan is for the primary first.
func (r Record) keepsPair(generation int64, laid string) bool {
	now, then := r.spec(r.Started), r.spec(generation)
	return r.Second != nil && hasSeveral(now) && hasSeveral(then) && r.way(generation, laid) == asItIs &&
		then.Size.Connections >= now.Size.Connections && then.Size.Memory >= now.Size.Memory
}

// nextSecond is the second as the generation wants it: from what the primary runs from, or where it comes to the
// generation first, from what that is to run from.
func (in *Instance) nextSecond(ctx context.Context, generation int64) (n node.Node, err error) {
	r := in.Record()
	if r.Second == nil {
		return n, errors.New("the instance has one node")
	}
	second := *r.Second
	second.Installation, second.Program = r.Installation, cmp.Or(second.Program, r.Program)
	if generation != r.Started {
		if second.Installation, err = in.installation(ctx, r.spec(generation)); err != nil {
			return n, err
		}
	}
	r.Second = &second
	return in.m.second(r, r.spec(generation))
}

// tellAhead tells that the second comes to the generation first.
func (in *Instance) tellAhead(generation int64) {
	if generation == in.Record().Started {
		return
	}
	in.report(func(st *backend.Status) {
		st.Message = "The standby is started again first, " + in.whyRestart(generation) + ". Then it takes over."
	})
}

// whyExposed says why the instance is not protected, as what comes behind a colon.
func (in *Instance) whyExposed() string {
	switch r, generation := in.Record(), in.seen.restart; {
	case generation != 0 && !hasSeveral(r.spec(generation)):
		return "it is to have one node."
	case generation != 0 && r.keepsPair(generation, in.seen.laid):
		return "its standby is started again, " + in.whyRestart(generation) + ", and takes over then."
	}
	return "its standby does not follow. It is started again, or made anew, by itself."
}

// handsOverTo is the generation that the second runs, which takes over.
func (in *Instance) handsOverTo() int64 {
	r := in.Record()
	if r.Second == nil || r.Second.Started == 0 {
		return r.Started
	}
	return r.Second.Started
}

// whyHandedOver says why the second takes over from a primary that serves.
func (in *Instance) whyHandedOver() string {
	r := in.Record()
	if r.Second == nil || r.Second.Started == r.Started {
		return "It was asked for."
	}
	return "It was restarted, " + in.whyRestart(r.Second.Started) + ": the standby first, which took over then."
}

package instance

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/lag"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper/node"
)

// hasSpare tells whether the second may take over: it lacks nothing, or once lacked nothing and is to be all that is
// left if the primary's data stays away.
func (r Record) hasSpare() bool { return !r.InStep.IsZero() || r.Second != nil && r.Second.Whole }

// whyEnded says why the primary has ended, and why it could not be started again, for users.
func (in *Instance) whyEnded() string {
	status, _ := in.Look()
	if in.seen.volume == 0 { // what follows is that nothing is made in its place
		what, _, _ := strings.Cut(status.Message, ". ")
		return strings.TrimSuffix(what, ".") + "."
	}
	const begun = " It is started again."
	first, last := strings.TrimSuffix(in.seen.ended, begun), strings.TrimSuffix(status.Message, begun)
	if first != "" && last != first && in.seen.failures > 1 {
		return first + " It was not started again: " + last
	}
	return cmp.Or(first, last, "The primary had ended.")
}

// explainSecond is why the second's process has ended.
func (in *Instance) explainSecond() error {
	err := in.seen.second.node.Explain()
	in.loseSecond()
	return fmt.Errorf("the standby: %w", err)
}

// leaveSecond has the second's data be made anew: that in use is another one. Nobody waits for it any more.
func (r *Record) leaveSecond() {
	r.InStep = time.Time{}
	r.leaveReplicas()
	if r.Second != nil {
		second := *r.Second
		second.Data, second.Fenced, second.Started, second.Whole = "", false, 0, false
		r.Second = &second
	}
}

// keepFollowers has the nodes that follow be of the generation that the primary was brought to, where that asks nothing
// of a node that the one before did not: who is read from, how far behind, when backups are taken and whether another
// one is, and that the second is to take over, the keeper alone heeds.
func (r *Record) keepFollowers(before backend.Spec) {
	now, was := r.spec(r.Started), before.Generation
	before.Generation, before.Reading = now.Generation, now.Reading
	before.Backups, before.Failovers, before.Served = now.Backups, now.Failovers, now.Served
	if before.Backup != nil && now.Backup != nil { // there is an archive, as before
		before.Backup = now.Backup
	}
	if now.Build == "" { // which leaves it at the one that is noted of the other
		before.Build = ""
	}
	if !reflect.DeepEqual(before, now) {
		return
	}
	if r.Second != nil && r.Second.Started == was {
		second := *r.Second
		second.Started = now.Generation
		r.Second = &second
	}
	for i := range r.Replicas {
		if r.Replicas[i].Started == was {
			r.Replicas[i].Started = now.Generation
		}
	}
}

// moveTo has the node serve that lies at that place.
func (r *Record) moveTo(p Place) {
	if p == r.Place {
		return
	}
	r.Place = p
	if r.Second != nil {
		second := *r.Second
		second.Port, r.NodePort = r.NodePort, second.Port
		r.Second = &second
	}
}

// failOver makes the second the node that serves, and what served the second. Its data is fenced, and has to follow
// first.
func (r *Record) failOver(why string, planned bool, now time.Time) {
	if r.BeforeData == dataName(r.Data) {
		r.BeforeData = dataName(r.Second.Data)
	}
	before, started := r.Data, r.Second.Started
	if r.spec(started).Generation != started { // a generation that was overtaken on its way
		started = r.Started
	}
	r.Data = r.Second.Data
	r.moveTo(r.Place.other())
	former := *r.Second
	r.Second = &Second{Port: former.Port, Data: dataName(before), Fenced: true, // it is another one than before
		Installation: r.Installation, Program: r.Program}
	if former.Installation.Dir != "" {
		r.Installation, r.Program = former.Installation, former.Program
	}
	r.InStep, r.Promoting, r.Aside = time.Time{}, true, ""
	r.Term++ // what follows is to follow another one
	r.begin(started)
	r.Failovers = r.spec(started).Failovers
	r.Gone = nil // what is in the other place goes when that follows
	r.Failover = &backend.Failover{At: now.UTC(), Why: why, Planned: planned}
	if !planned {
		r.noteReplaced(now)
	}
}

// secondSight is what Run has seen of the second.
type secondSight struct {
	node    node.Node
	process *process.Process // nil: there is none

	making *restoring // its data, aside; nil: it is not made

	reads   lag.Gauge // how old what its clients read is
	unheard time.Time // since when it could not be found out how it follows; zero: it could
	caught  int64     // up to which of those who were dropped it has no sessions; 0: that is not known

	catching   *restoring // it catches up, aside; nil: it does not
	catchingTo int64      // what caught is then

	released bool // the primary was told that it need not wait, by this keeper
	follows  bool
	followed bool // when both could be asked last
	behind   engine.Following
	mirrored int64     // how often users were made or dropped that it lacked when it was seen last
	asked    time.Time // when it was seen last
	away     time.Time // since when it does not follow; zero: it does
	failures int
	absent   bool      // what failed last did so for want of its disk
	placed   bool      // it is misplaced, and there can be a volume for it
	place    time.Time // when that is looked for again
	retry    time.Time
}

// secondView is what decide may know of the second.
type secondView struct {
	wanted   bool // by the generation that was started
	there    bool // the record has one
	later    bool // by the generation that is to run too
	stays    bool // as it is: see keepsPair
	data     bool // there is data that the primary's can be followed with
	late     bool // nobody waits for it: what was acknowledged in the last moment may not have come to it yet
	whole    bool // it was in step once
	fenced   bool // there is data that was the primary's, which is made to follow
	inStep   bool // it lacks nothing that was acknowledged, or will be
	released bool
	making   bool // its data is being made, aside
	alive    bool
	stopped  bool  // its process stands still
	started  int64 // the generation that it was started with
	follows  bool  // when it was seen last
	followed bool  // when both could be asked last
	asked    time.Time
	away     time.Time
	failures int // in a row
	retry    time.Time
	due      bool      // the generation that was started asks that it takes over
	parting  bool      // the instance goes as soon as it is backed up: its data is not made any more
	changed  time.Time // when the primary was changed last
}

// How long the second may be away before the primary's clients do not wait for it any more, and before its data is made
// anew.
const (
	awayPatience  = 3 * time.Second
	latePatience  = time.Second // the first, where nobody waits: it is told sooner that it is not to take over
	anewPatience  = time.Minute
	seeEvery      = time.Second
	seeAgain      = 100 * time.Millisecond // while it is to follow
	calmAfter     = 30 * time.Second       // between two changes of the primary: before, what has ended is started again
	overtakeAfter = time.Second            // that an engine has not answered

	gonePatience = time.Minute // that the primary's data may be missing: its disk may be about to be mounted

	wornAfter = 3 // failures to follow the second's data is made anew
)

// overtakes tells whether the second takes the place of the primary, which is not there.
func (v view) overtakes(now time.Time) bool {
	s := v.second
	if v.alive || !v.looked || !s.inStep || !s.alive || s.stopped {
		return false
	}
	if s.late && (now.Before(s.retry) || !s.followed && !v.failed) {
		return false // it was not ready, or this keeper has not seen it follow: what has ended lacks less, and is started
	}
	if v.failed { // it was tried to start it again
		return true
	}
	if next := v.toBegin(); v.started != next { // the primary has ended for that, or would have: see goesAhead
		return s.started == next
	}
	return s.started == v.started && now.Sub(s.changed) >= calmAfter
}

// succeeds tells whether what the second has is all that is left: the primary's data has been missing for long. Where
// nobody waits for the second, it may lack the more the longer it was away.
func (v view) succeeds(now time.Time) bool {
	s := v.second
	if v.alive || !v.looked || !s.late || !s.whole || !s.data || s.inStep || now.Before(v.retry) || now.Before(s.retry) {
		return false
	}
	return !v.missing.IsZero() && now.Sub(v.missing) >= gonePatience && !s.stopped
}

// standsBy tells whether the second can take the primary's place.
func (v view) standsBy() bool { return v.second.inStep && v.second.alive && !v.second.stopped }

// patience is how long the second may not follow before its process is ended. One that stands still does nothing about
// it, and has all its data.
func (s secondView) patience() time.Duration {
	if s.stopped {
		return stoppedPatience
	}
	return anewPatience
}

// isToBeMade tells whether there is no data that the second could follow the primary with, or none that is of use.
func (s secondView) isToBeMade() bool {
	return !s.data || !s.inStep && !s.alive && s.failures >= wornAfter
}

// awayFor is how long the second does not follow.
func (s secondView) awayFor(now time.Time) time.Duration {
	if s.away.IsZero() {
		return 0
	}
	return now.Sub(s.away)
}

// loses tells whether those who wait for the second wait in vain. Where nobody does, that is told sooner. That the
// primary does not answer is no sign of the second's being away: it is about to take over.
func (v view) loses(now time.Time) bool {
	s, patience := v.second, awayPatience
	if s.late {
		patience = latePatience
	}
	return !s.alive || s.stopped || v.speaks() && s.awayFor(now) >= patience
}

// speaks tells whether the primary has served when it was asked last. One that does not serve, as it mends its data
// behind a crash, acknowledges nothing.
func (v view) speaks() bool { return v.mute.IsZero() && v.silent.IsZero() || v.busy }

// tendSecond says what is to be done about the second, while the primary serves; until is when to look again where
// there is nothing.
func (v view) tendSecond(now time.Time) (next verb, until time.Time) {
	s, wanted := v.second, v.ofSecond(now)
	switch {
	case !s.there && !s.inStep:
		return "", until
	case v.isToYield():
		return "", until
	case s.inStep && s.wanted && !s.alive && s.away.IsZero(): // both have ended, or nobody has looked for it yet
		return toFollow, until
	case s.inStep && (v.loses(now) || !s.wanted || !s.data || s.started != wanted):
		return toExpose, until
	case now.Before(s.retry):
		return "", s.retry
	case !s.inStep && !s.released && (v.loses(now) || !s.wanted):
		return toExpose, until
	case s.making && s.parting:
		return toLeave, until
	case s.making || !s.there:
		return "", until
	case s.alive && (!s.wanted || !s.data || s.started != wanted || s.awayFor(now) >= s.patience()):
		return toLeave, until
	case !s.wanted:
		return toDisband, until
	case s.isToBeMade() && s.parting:
		return "", until
	case s.isToBeMade():
		return toCopy, until
	case !s.alive:
		return toFollow, until
	}
	if !v.speaks() { // nobody can tell how the second follows
		return "", until
	}
	every := seeEvery
	if !s.follows {
		every = seeAgain
	}
	switch {
	case now.Sub(s.asked) >= every:
		return toSee, until
	case s.follows && !s.inStep:
		return toProtect, until
	}
	return "", s.asked.Add(every)
}

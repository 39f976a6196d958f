package instance

import (
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/node"
)

// verb is what can be done for an instance.
type verb string

const (
	toLook    verb = "look"    // for the process that an earlier keeper has left, when the volume is mounted
	toSize    verb = "size"    // give the volume another size
	toStart   verb = "start"   // prepare the node and start its process
	toAwait   verb = "await"   // wait until the process serves
	toDrop    verb = "drop"    // the users that are owed to be dropped
	toReach   verb = "reach"   // record and tell that the generation serves
	toAsk     verb = "ask"     // whether the process still serves
	toCheck   verb = "check"   // whether the wanted generation is possible
	toChange  verb = "change"  // bring the process to another generation, or find that this takes a restart
	toRestart verb = "restart" // end the process, so that another one is started with the generation
	toKill    verb = "kill"    // the process, which hangs, or has nothing to serve
	toRemove  verb = "remove"  // everything
	toRest    verb = "rest"    // until an instant, or until something happens

	toUpgrade  verb = "upgrade"  // make data that the generation's version serves
	toReturn   verb = "return"   // take data into use again that was kept and that the generation's version serves
	toRestore  verb = "restore"  // begin to restore data, or see how that has ended
	toExchange verb = "exchange" // take data that was restored into use

	toTidy verb = "tidy" // remove data that is not kept any more

	toCopy    verb = "copy"    // begin to make data for the second that follows the primary's
	toFollow  verb = "follow"  // start the second's process
	toSee     verb = "see"     // how the second follows
	toProtect verb = "protect" // have the primary wait for the second with what it acknowledges
	toExpose  verb = "expose"  // and not any more
	toLeave   verb = "leave"   // end the second's process
	toDisband verb = "disband" // remove all of the second
	toPromote verb = "promote" // make the second the primary
	toConcede verb = "concede" // and that what it lacks is lost: nothing else is left

	toFront    verb = "front"     // have a front stand before the primary
	toRoute    verb = "route"     // have a front send reads to who serves them
	toHandOver verb = "hand over" // end the primary, and make the second the primary
)

// action is what is to be done next.
type action struct {
	verb       verb
	generation int64     // of all that bring an instance to a Spec: which one
	until      time.Time // of rest
}

// wish is what somebody wants of an instance. While it is the same, there is no reason to stop in the middle
// of anything.
type wish struct {
	generation int64
	removing   bool
}

// view is all that decide knows.
type view struct {
	wish
	started  int64            // the generation that the process was started with
	reached  int64            // the newest generation that served; 0: there may be no data yet
	before   int64            // the generation that can be returned to; 0: none
	obstacle backend.Obstacle // why the wanted generation was given up, if it was
	owed     bool             // users are to be dropped before the instance serves
	way      way              // to data that the wanted generation serves
	wayBack  way              // and the one before
	kept     time.Time        // since when other data is kept; zero: there is none
	gone     bool             // there is data to be removed

	restoring bool // data is being restored, aside from that in use

	looked  bool      // the process was looked for
	sized   bool      // the volume is as large as it is to be
	alive   bool      // there is one
	lived   bool      // it was found, or has served: it may have clients, which are not cut off without need
	awaited bool      // it was waited for, and did not come up
	answers bool      // it has come up
	serves  bool      // it was told to be Running
	asked   time.Time // when it was last asked
	silent  time.Time // since when it does not serve though it did; zero: it serves
	mute    time.Time // since when it does not even answer that; zero: it answers
	stopped bool      // its process stands still: it cannot answer
	busy    bool      // all that it answers is that clients occupy it
	damaged time.Time // since when it answers that its data is damaged; zero: it does not
	doubted time.Time // when its disk is found to hang if it does not answer before; zero: it has answered

	fronted bool      // there is a front, where one is to be
	misled  bool      // reads are to go elsewhere than their front was told
	failed  bool      // it has failed since it served, or its data was found damaged
	missing time.Time // since when its data is missing; zero: it is not known to be
	second  secondView
	checked int64     // the generation that was last found possible
	restart int64     // the generation that was found to take a restart of the process; 0: none
	found   time.Time // when that was found
	retry   time.Time // what has failed is not tried again before
}

// How long an engine may hang until it is killed and started again. One that was stopped by a signal does
// nothing at all; one that does not answer may be busy.
const (
	stoppedPatience = 10 * time.Second
	mutePatience    = time.Minute
)

// How often it is seen to that a process serves, and that one which does not serve any more does again.
const (
	askEvery = 2 * time.Second
	askAgain = time.Second
)

// decide says what to do next. What it says changes the view, or lets time pass.
func decide(v view, now time.Time) action {
	target, pending := v.target(), now.Before(v.retry)
	switch {
	case (v.removing || !v.looked || v.hangs(now)) && pending:
		return action{verb: toRest, until: v.retry}
	case v.removing:
		return action{verb: toRemove}
	case !v.looked:
		return action{verb: toLook}
	case v.hangs(now):
		return action{verb: toKill}
	case v.isHeldUp(now):
		return action{verb: toLeave}
	case v.overtakes(now):
		return action{verb: toPromote}
	case v.succeeds(now) && !v.second.alive:
		return action{verb: toFollow, generation: v.started}
	case v.succeeds(now):
		return action{verb: toConcede}
	case !v.sized && !pending:
		return action{verb: toSize, generation: v.generation}
	case v.checkDue() && v.checkable() && !pending:
		return action{verb: toCheck, generation: v.generation}
	case v.restoreDue() && !pending:
		return action{verb: toRestore, generation: v.generation}
	case v.alive && v.started != target && !v.goesAhead(now) && !v.isToYield() && !pending:
		return v.change(target)
	case v.alive && v.serves:
		return v.attend(now)
	case !v.alive && v.second.inStep && !v.second.alive && v.failed && !now.Before(v.second.retry):
		return action{verb: toFollow, generation: v.started} // so that it takes over
	case pending:
		return action{verb: toRest, until: v.retry}
	case !v.alive && v.restoring && target == v.generation:
		return action{verb: toRest, until: now.Add(askEvery)}
	case !v.alive:
		return action{verb: v.beginning(v.toBegin()), generation: v.toBegin()}
	case !v.answers:
		return action{verb: toAwait, generation: v.started}
	case v.owed:
		return action{verb: toDrop}
	case v.second.due && v.second.wanted:
		return v.handOver(now)
	}
	return action{verb: toReach, generation: v.started}
}

// change brings the process to another generation.
func (v view) change(target int64) action {
	switch {
	case v.lived && !v.answers && !v.awaited: // one that answers may take the change over without a restart
		return action{verb: toAwait, generation: v.started}
	case v.restart == target && v.second.inStep && !v.second.later:
		return action{verb: toExpose, generation: target}
	case v.restart == target:
		return action{verb: toRestart, generation: target}
	}
	return action{verb: toChange, generation: target}
}

// toBegin is the generation that is started where there is no process: the target, unless that has one node and the
// primary has ended without need before the second was left. The second is to take over then where the primary cannot,
// so it stays at the generation of two nodes that was started, or, where another wish has overtaken that on its way and
// nobody knows its Spec any more, at the one before.
func (v view) toBegin() int64 {
	switch {
	case !v.second.inStep || v.second.later:
		return v.target()
	case v.started != v.generation && v.before != 0:
		return v.before
	}
	return v.started
}

// beginning is what comes first where there is no process.
func (v view) beginning(target int64) verb {
	way := v.way
	if target == v.before {
		way = v.wayBack
	}
	switch way {
	case byUpgrade:
		return toUpgrade
	case byReturn:
		return toReturn
	case byRestore:
		return toRestore
	case byExchange:
		return toExchange
	}
	return toStart
}

// restoreDue tells whether to restore data while that in use serves.
func (v view) restoreDue() bool {
	return v.before != 0 && v.way == byRestore && !v.restoring && !v.givenUp() && v.passed() && v.tried()
}

// tried tells whether the data in use is served, or was found not to be. Before, a keeper that has just begun would
// restore without a backup of now, and from an archive that was not brought up to now.
func (v view) tried() bool { return v.serves || v.awaited || !v.alive && !v.retry.IsZero() }

// checkable tells whether it can be found out by now whether the wanted generation is possible. An upgrade is checked
// with what serves.
func (v view) checkable() bool {
	switch v.way {
	case byUpgrade:
		return v.serves
	case byRestore:
		return v.tried()
	}
	return true
}

// untidy tells whether data is to be removed. Where another generation is wanted, the data that is kept may be needed.
func (v view) untidy(now time.Time) bool {
	return v.gone && !v.restoring || v.before == 0 && !v.kept.IsZero() && now.Sub(v.kept) >= keepFor
}

// target is the generation that is to run now: the wanted one, unless it is not known to be possible, or its data is
// not restored yet, and there is another to protect.
func (v view) target() int64 {
	if v.before == 0 || !v.givenUp() && v.passed() && v.way != byRestore {
		return v.generation
	}
	return v.before
}

// givenUp tells whether the wanted generation cannot be reached.
func (v view) givenUp() bool { return v.obstacle.Final && v.obstacle.Generation == v.generation }

// passed tells whether the wanted generation was found possible, by this keeper or by the one that started it or made
// the data for it.
func (v view) passed() bool {
	return v.checked == v.generation || v.started == v.generation || v.second.started == v.generation ||
		v.way == byExchange || v.way == asItIs && v.wayBack == byReturn
}

func (v view) checkDue() bool { return v.before != 0 && !v.givenUp() && !v.passed() }

// yields tells whether the process is to be ended because its data is damaged, and the second has it whole. Where there
// is none, ending it would mend nothing.
func (v view) yields(now time.Time) bool {
	s := v.second
	return v.isToYield() && now.Sub(v.damaged) >= node.DamagePatience && !s.stopped && (s.alive || !now.Before(s.retry))
}

// isToYield tells whether the process is to be ended for its data, if it goes on to answer that this is damaged. Until
// then nothing is begun by which the second would be in step no more.
func (v view) isToYield() bool { return v.alive && v.isDamaged() && v.second.inStep }

// isHeldUp tells whether the second, which is to take over from a primary whose data is damaged, is to be started again
// for that: it stands still.
func (v view) isHeldUp(now time.Time) bool {
	s := v.second
	return v.isToYield() && s.alive && s.stopped && now.Sub(v.damaged) >= stoppedPatience && !now.Before(s.retry)
}

func (v view) isDamaged() bool { return !v.damaged.IsZero() }

// hangs tells whether the process is to be ended because it does not answer, or has nothing to serve.
func (v view) hangs(now time.Time) bool {
	if v.yields(now) {
		return true
	}
	if !v.alive || v.mute.IsZero() {
		return false
	}
	quiet := now.Sub(v.mute)
	if v.standsBy() && !v.busy {
		return quiet >= overtakeAfter
	}
	return v.stopped && quiet >= stoppedPatience || (v.serves || v.busy) && quiet >= mutePatience
}

// handOver is for a primary whose generation asks that the second takes over. It waits until that can. As nobody has
// seen the primary serve yet, it is asked first, and again behind each try: one that stands still or whose data is
// damaged cannot hand anything over, and is ended for what it is.
func (v view) handOver(now time.Time) action {
	next, until := v.tendSecond(now)
	switch {
	case now.Sub(v.asked) >= askEvery:
		return action{verb: toAsk}
	case v.takesOver(next, now):
		return action{verb: toHandOver}
	case next != "":
		return action{verb: next, generation: v.ofSecond(now)}
	case until.IsZero():
		until = now.Add(seeEvery)
	}
	if ask := v.asked.Add(askEvery); ask.Before(until) {
		until = ask
	}
	return action{verb: toRest, until: until}
}

// attend is for a primary that serves: what is due is done for the second first.
func (v view) attend(now time.Time) action {
	if v.second.wanted && !v.fronted && !now.Before(v.retry) {
		return action{verb: toFront}
	}
	if v.misled {
		return action{verb: toRoute}
	}
	next, until := v.tendSecond(now)
	switch {
	case v.goesAhead(now) && v.takesOver(next, now) && !now.Before(v.retry):
		return action{verb: toHandOver}
	case next != "":
		return action{verb: next, generation: v.ofSecond(now)}
	}
	a := v.watch(now)
	if a.verb == toRest && !until.IsZero() && until.Before(a.until) {
		a.until = until
	}
	return a
}

// watch is for a process that serves as it is to, or that cannot be changed yet.
func (v view) watch(now time.Time) action {
	if v.untidy(now) && !now.Before(v.retry) {
		return action{verb: toTidy}
	}
	next := v.asked.Add(askEvery)
	if !v.silent.IsZero() || v.standsBy() {
		next = v.asked.Add(askAgain)
	}
	if soon := v.asked.Add(askAgain / 10); v.standsBy() && !v.doubted.IsZero() && v.doubted.Before(next) {
		next = later(v.doubted, soon)
	}
	if v.isDamaged() {
		next = v.asked.Add(askAgain / 10)
	}
	if !now.Before(next) {
		return action{verb: toAsk}
	}
	if now.Before(v.retry) && v.retry.Before(next) {
		next = v.retry
	}
	return action{verb: toRest, until: next}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

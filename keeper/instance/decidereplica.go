package instance

import (
	"time"

	"github.com/backstay/backstay/backend"
)

// toRejoin has a replica follow another primary than before with the data that it has, where it can.
const toRejoin verb = "rejoin"

// replicaView is all that is known when it is decided what is to be done about a replica.
type replicaView struct {
	wanted bool // as things are: see wantsReplica
	kept   bool // the record keeps it, wanted or not
	serves bool // the primary does: it can be copied, and asked
	looked bool // the process was looked for
	data   bool // there is some, and it is of the same name as the primary's
	// current tells that the data was made to follow the primary that there is now, and no other one.
	current    bool
	alive      bool
	stopped    bool  // its process stands still
	started    int64 // the generation that its process was started with
	generation int64 // and that of the primary's
	follows    bool  // when it was seen last
	asked      time.Time
	away       time.Time // since when it does not follow though it could; zero: it does
	failures   int       // in a row
	retry      time.Time
}

// next says what is to be done about a replica, and, where that is nothing, until when.
func (v replicaView) next(now time.Time) (next verb, until time.Time) {
	switch {
	case now.Before(v.retry):
		return toRest, v.retry
	case !v.looked:
		return toLook, until
	case v.alive && v.isToLeave(now):
		return toLeave, until
	case !v.wanted && v.kept:
		return toRest, now.Add(seeEvery)
	case !v.wanted && !v.serves: // the primary is to be told
		return toRest, now.Add(seeAgain)
	case !v.wanted:
		return toDisband, until
	case !v.alive && v.data && v.current && v.failures < wornAfter:
		return toFollow, until
	case !v.serves:
		return toRest, now.Add(seeAgain)
	case !v.alive && v.data && !v.current && v.failures < wornAfter:
		return toRejoin, until
	case !v.alive:
		return toCopy, until
	}
	every := seeEvery
	if !v.follows {
		every = seeAgain
	}
	if now.Sub(v.asked) >= every {
		return toSee, until
	}
	return toRest, v.asked.Add(every)
}

// isToLeave tells whether the process is to end. One that runs another generation follows on until the primary has come
// to that, by which it learns what its server must have room for.
func (v replicaView) isToLeave(now time.Time) bool {
	switch {
	case !v.wanted || !v.data || !v.current || v.awayFor(now) >= anewPatience:
		return true
	case v.stopped && v.awayFor(now) >= stoppedPatience:
		return true
	case v.started != v.generation:
		return v.serves && (v.follows || v.awayFor(now) >= awayPatience)
	}
	return false
}

// awayFor is how long it does not follow.
func (v replicaView) awayFor(now time.Time) time.Duration {
	if v.away.IsZero() {
		return 0
	}
	return now.Sub(v.away)
}

// phase is where the replica is on its way.
func (v replicaView) phase() backend.Phase {
	switch {
	case v.alive && v.follows && v.current:
		return backend.Running
	case v.alive:
		return backend.Starting
	case v.failures >= wornAfter:
		return backend.Failing
	}
	return backend.Preparing
}

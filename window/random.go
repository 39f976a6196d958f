package window

import (
	"iter"
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay"
)

// Windows that nobody chose are as short as a window may be, and lie in the eight hours from 22:00 UTC on.
const (
	nightBegins = 22 * time.Hour
	nightLength = 8 * time.Hour
)

// Random returns a maintenance window and a backup window that nobody chose, each 30 minutes of the night between 22:00
// and 06:00 UTC. They do not overlap. The same seed gives the same windows.
func Random(seed uint64) (Weekly, Daily) {
	w, d, _ := Complete(seed, Weekly{}, Daily{}) // each night has room for both
	return w, d
}

// Complete returns the windows that were chosen, with random ones in the place of zero ones. A random one lies in the
// night if the other one leaves room there. With the same seed it is the same one, unless that overlaps the other one.
// The error is Invalid if the windows overlap, or if the one that was chosen leaves no room in the day.
func Complete(seed uint64, w Weekly, d Daily) (Weekly, Daily, error) {
	if d == (Daily{}) {
		if d = randomDaily(rand.New(rand.NewPCG(seed, 0)), w); d == (Daily{}) {
			return w, d, backstay.Errorf(backstay.Invalid,
				"The maintenance window %s leaves no 30 minutes of its day to the daily backup: choose a shorter one.", w)
		}
	}
	if w == (Weekly{}) {
		if w = randomWeekly(rand.New(rand.NewPCG(seed, 1)), d); w == (Weekly{}) {
			return w, d, backstay.Errorf(backstay.Invalid,
				"The backup window %s leaves no 30 minutes of a day to maintenance: choose a shorter one.", d)
		}
	}
	return w, d, Check(w, d)
}

// randomDaily is zero if no window is free of w, which may be zero itself.
func randomDaily(chance *rand.Rand, w Weekly) Daily {
	for start := range starts(chance) {
		if d := (Daily{start, shortest}); !w.Overlaps(d) {
			return d
		}
	}
	return Daily{}
}

// randomWeekly is zero if no window is free of d.
func randomWeekly(chance *rand.Rand, d Daily) Weekly {
	monday := time.Duration(chance.IntN(len(days))) * day
	for start := range starts(chance) {
		if w := (Weekly{wrap(monday+start, week), shortest}); !w.Overlaps(d) {
			return w
		}
	}
	return Weekly{}
}

// starts yields minutes of the day: first some at which a window of the night may begin, as chance decides, then all in
// the order of time, the night's first. The first one is nearly always taken, so nothing is made ahead.
func starts(chance *rand.Rand) iter.Seq[time.Duration] {
	const (
		minutesOfNight = int((nightLength-shortest)/time.Minute) + 1
		minutesOfDay   = int(day / time.Minute)
		guesses        = 32
	)
	return func(yield func(time.Duration) bool) {
		for guess := range guesses + minutesOfDay {
			minute := guess - guesses
			if guess < guesses {
				minute = chance.IntN(minutesOfNight)
			}
			if !yield(wrap(nightBegins+time.Duration(minute)*time.Minute, day)) {
				return
			}
		}
	}
}

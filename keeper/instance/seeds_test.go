package instance

import (
	"flag"
	"iter"
	"math/rand/v2"
	"testing"
)

var schedules = flag.Float64("schedules", 1, "how many times as many schedules each simulation goes through")

// seeds yields one for each of so many schedules, others in every run, so that what one run misses another finds. The
// log of a failure begins with its seed. Under -short there are fewer: simulations have no goroutines to watch.
func seeds(schedulesOfARun float64) iter.Seq[uint64] {
	if testing.Short() {
		schedulesOfARun /= 20
	}
	return func(yield func(uint64) bool) {
		for range int(schedulesOfARun * *schedules) {
			if !yield(rand.Uint64()) {
				return
			}
		}
	}
}

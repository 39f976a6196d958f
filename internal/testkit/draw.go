package testkit

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// everyStep is a variable that, if it is set, has tests go through all that is else drawn from.
const everyStep = "BACKSTAY_TEST_EVERY_STEP"

// EveryStep tells whether tests are to go through everything, however long that takes.
func EveryStep() bool { return os.Getenv(everyStep) != "" }

// Drawn returns a fifth of what takes too long to be tried in each run, and at least one, in its order; each run draws
// anew. Under [EveryStep] it returns everything.
func Drawn[T any](all []T) []T {
	if EveryStep() || len(all) == 0 {
		return all
	}
	places := rand.Perm(len(all))[:(len(all)+4)/5]
	slices.Sort(places)
	drawn := make([]T, len(places))
	for i, place := range places {
		drawn[i] = all[place]
	}
	return drawn
}

// InSomeRuns skips a test in two runs of three: it takes minutes, and others try the most of it. It is run where
// somebody asks for it by its name, and under [EveryStep].
func InSomeRuns(t testing.TB) {
	t.Helper()
	if named := flag.Lookup("test.run"); EveryStep() || named != nil && named.Value.String() != "" {
		return
	}
	if rand.N(3) > 0 {
		t.Skipf("each run draws a third of such tests: go test -run %s, or %s=yes", t.Name(), everyStep)
	}
}

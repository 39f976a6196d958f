package testkit

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// everyStep is a variable that, if it is set, has tests go through all that is else drawn from.
const everyStep = "BACKSTAY_TEST_EVERY_STEP"

// EveryStep tells whether tests are to go through everything, however long that takes.
func EveryStep() bool { return os.Getenv(everyStep) != "" }

// isWhole tells whether nothing of a test is left out: under [EveryStep], and where somebody asks for the test by its
// whole name, as go test -run '^TestPair$', or for a part of it, as 'TestPair/killed', and whoever runs once more what
// has failed.
func isWhole(t testing.TB) bool {
	name, _, _ := strings.Cut(t.Name(), "/")
	asked := flag.Lookup("test.run").Value.String()
	return EveryStep() || strings.Contains(asked, "^"+name+"$") || strings.Contains(asked, name+"/")
}

// Drawn returns a fifth of what takes too long to be tried in each run, and at least one, in its order; each run draws
// anew. It returns everything under [EveryStep], and where the test, or a part of it, is asked for by its name.
func Drawn[T any](t testing.TB, all []T) []T {
	if isWhole(t) || len(all) == 0 {
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

// InSomeRuns skips a test in two runs of three, but where [Drawn] returns everything: it takes long, and others try the
// most of it.
func InSomeRuns(t testing.TB) {
	t.Helper()
	inOneOf(t, 3)
}

// InFewRuns is InSomeRuns for what is tried in one run of six.
func InFewRuns(t testing.TB) {
	t.Helper()
	inOneOf(t, 6)
}

func inOneOf(t testing.TB, runs int) {
	t.Helper()
	if !isWhole(t) && rand.N(runs) > 0 {
		t.Skipf("one run of %d draws this test: go test -run '^%s$', or %s=yes", runs, t.Name(), everyStep)
	}
}

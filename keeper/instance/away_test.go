package instance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// TestARestoreWaitsForItsRepository: for as long as that is away, it is not given up, and what fails once it is back has
// its own time.
func TestARestoreWaitsForItsRepository(t *testing.T) {
	t.Parallel()
	key := backstay.Secret(strings.Repeat("0f", 32))
	gone := backstay.Repository{Dir: t.TempDir() + "/gone"}.Of("i", key)
	failed := backstay.Errorf(backstay.Unavailable, "pgBackRest says: no such file.")
	there := backstay.Repository{Dir: t.TempDir()}.Of("i", key)
	now := time.Now()
	in := newIdle(t)
	in.m.Now = func() time.Time { return now }
	fail := func(after time.Duration, r backstay.Repository, final bool) {
		t.Helper()
		now = now.Add(after)
		in.fail(action{verb: toRestore, generation: 1}, errors.Join(errRestore, blameRepository(t.Context(), r, failed)))
		if o := in.status.Obstacle; o.Final != final {
			t.Errorf("after %s: %+v, want it to be final: %t", after, o, final)
		}
	}
	fail(0, gone, false)
	for range 30 {
		fail(2*time.Minute, gone, false)
	}
	const words = "The restore waits for the repository of the backups: The repository is not there: is its disk mounted?"
	if o := in.status.Obstacle; o.Sentence != words {
		t.Errorf("it is told as %q, want %q", o.Sentence, words)
	}
	fail(30*time.Second, there, false)
	fail(hopelessMissing, there, true)
}

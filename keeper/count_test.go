package keeper

import (
	"testing"
	"time"
)

// TestCountPause: however many directories there are, each is looked at within a minute, unless counting them would then
// take more than a tenth of a processor.
func TestCountPause(t *testing.T) {
	t.Parallel()
	for _, directories := range []int{0, 1, 9, 10, 200, 5000} {
		for _, took := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, 20 * time.Second} {
			pause := countPause(directories, took)
			round := time.Duration(directories+1) * pause
			if busy := float64(took) / float64(took+pause); busy > 0.1 {
				t.Errorf("%d directories of %v each take %v of a processor", directories, took, busy)
			}
			if round > countEvery && pause != 9*took {
				t.Errorf("%d directories of %v each are looked at every %v", directories, took, round)
			}
			if pause < time.Millisecond || pause > max(countEvery/10, 9*took) {
				t.Errorf("%d directories of %v each: a pause of %v", directories, took, pause)
			}
		}
	}
}

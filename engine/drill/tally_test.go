package drill

import (
	"testing"
	"time"
)

// TestTallyCountsWhatIsLost: of what was acknowledged, or read, and is not there in a later session.
func TestTallyCountsWhatIsLost(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var seen Tally
	tell := func(n int, after time.Duration) {
		for range n {
			seen.tell(now, after)
		}
	}
	for _, c := range []struct {
		what       string
		do         func()
		kept, lost int64
		longest    time.Duration
	}{
		{"five are acknowledged", func() { tell(5, time.Millisecond) }, 5, 0, time.Millisecond},
		{"all are there", func() { seen.find(5) }, 5, 0, time.Millisecond},
		{"one that nobody was told of is there too", func() { seen.find(6) }, 6, 0, time.Millisecond},
		{"two are acknowledged after an outage", func() { tell(2, time.Second) }, 8, 0, time.Second},
		{"the last three are lost", func() { seen.find(5) }, 5, 3, time.Second},
		{"they are lost once", func() { seen.find(5) }, 5, 3, time.Second},
		{"the next is acknowledged", func() { tell(1, time.Millisecond) }, 6, 3, time.Second},
		{"all that there was is lost", func() { seen.find(0) }, 0, 9, time.Second},
	} {
		c.do()
		if seen.Kept != c.kept || seen.Lost != c.lost || time.Duration(seen.Longest) != c.longest {
			t.Errorf("%s: %+v, want %d, %d lost, and %v", c.what, seen, c.kept, c.lost, c.longest)
		}
	}
	if seen.Written != 8 {
		t.Errorf("%d were acknowledged, want 8", seen.Written)
	}
}

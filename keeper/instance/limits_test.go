package instance

import (
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// TestTollIsToldForATime: what is new is told once, until it is old; what an earlier keeper has seen is not told again.
func TestTollIsToldForATime(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	var counted toll
	for _, step := range []struct {
		after      time.Duration
		count      int64
		more, over bool
	}{
		{0, 3, false, false}, // of before
		{time.Second, 3, false, false},
		{2 * time.Second, 4, true, false},
		{3 * time.Second, 4, false, false},
		{time.Hour, 6, true, false},
		{tollTold + time.Minute, 6, false, false},
		{tollTold + time.Hour, 6, false, true},
		{tollTold + 2*time.Hour, 6, false, false},
		{tollTold + 3*time.Hour, 0, false, false}, // the group was made anew
		{tollTold + 4*time.Hour, 1, true, false},
	} {
		more, over := counted.add(step.count, begun.Add(step.after))
		if more != step.more || over != step.over {
			t.Errorf("after %s, at %d: more %t, over %t; want %t, %t",
				step.after, step.count, more, over, step.more, step.over)
		}
	}
}

// TestWhoseMemoryWasShort: an instance has used up its own only if it met its limit a moment before.
func TestWhoseMemoryWasShort(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	var met toll
	for _, step := range []struct {
		after time.Duration
		count int64
		want  string
	}{
		{0, 3, "the machine had no memory left"},
		{time.Second, 4, "it needed more than the plan's 512MB of memory"},
		{30 * time.Second, 4, "it needed more than the plan's 512MB of memory"},
		{time.Hour, 4, "the machine had no memory left"},
	} {
		now := begun.Add(step.after)
		met.add(step.count, now)
		if because, _ := outOfMemory(met.isRecent(now), 512*backstay.MB); because != step.want {
			t.Errorf("after %s: %q, want %q", step.after, because, step.want)
		}
	}
}

// TestWeightsGrowWithPlans, and no plan is nothing beside another.
func TestWeightsGrowWithPlans(t *testing.T) {
	t.Parallel()
	for memory, want := range map[backstay.Bytes]int{
		64 * backstay.MB: 100, 512 * backstay.MB: 100, 2 * backstay.GB: 200, 8 * backstay.GB: 400, 32 * backstay.GB: 800,
		64 * backstay.GB: 800,
	} {
		if is := weightOf(memory); is != want {
			t.Errorf("with %v the weight is %d, want %d", memory, is, want)
		}
	}
}

package guess

import (
	"slices"
	"testing"
	"time"
)

// TestDoorsShareNothing: who guesses at one door keeps nobody out of another.
func TestDoorsShareNothing(t *testing.T) {
	t.Parallel()
	other := Keys(Limits("b", "account", "10.0.0.1"))
	for _, key := range Keys(Limits("a", "account", "10.0.0.1")) {
		if slices.Contains(other, key) {
			t.Errorf("both doors count %s", key)
		}
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]time.Duration{
		time.Millisecond: time.Second, time.Second: time.Second, 1001 * time.Millisecond: 2 * time.Second,
		5 * time.Minute: 5 * time.Minute,
	} {
		if got := Seconds(wait); got != want {
			t.Errorf("%v is told as %v, want %v", wait, got, want)
		}
	}
}

package instance

import (
	"testing"
	"time"

	"github.com/backstay/backstay/volume"
)

// TestSecondWithoutUseIsNotWaitedFor: before a second whose data is of no use any more is left, the primary is told not
// to wait for it, and it is made anew when it has ended.
func TestSecondWithoutUseIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	v := view{started: 1, second: secondView{wanted: true, there: true, inStep: true, alive: true, follows: true, started: 1}}
	v.generation, v.reached, v.alive, v.serves, v.looked, v.sized = 1, 1, true, true, true, true
	wanted := func(want verb) {
		t.Helper()
		if next, _ := v.tendSecond(now); next != want {
			t.Errorf("next is to %s, want to %s", next, want)
		}
	}
	wanted(toExpose)
	v.second.inStep, v.second.released = false, true
	wanted(toLeave)
	v.second.alive, v.second.away = false, now
	wanted(toCopy)
}

// TestMisplaced tells which seconds have no volume though their instances do.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		record Record
		want   bool
	}{
		{"beside the first", Record{Volume: volume.Image}, false},
		{"a volume on another disk", Record{Volume: volume.Image, Apart: &Site{Dir: "d", Volume: volume.Image}}, false},
		{"directories", Record{Apart: &Site{Dir: "d"}}, false},
		{"a directory", Record{Volume: volume.Image, Apart: &Site{Dir: "d"}}, true},
		{"it serves", Record{Volume: volume.Image, Apart: &Site{Dir: "d"}, Place: secondPlace}, false},
		{"it is kept", Record{Volume: volume.Image, Apart: &Site{Dir: "d"}, Kept: &Kept{Place: secondPlace}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.record.isMisplaced(); got != tc.want {
				t.Errorf("misplaced: %t, want %t", got, tc.want)
			}
		})
	}
}

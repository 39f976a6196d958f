package custody

import (
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// TestUntold: what was lost is told unless it is a gap that was told when it came to be. That the two touch says nothing.
func TestUntold(t *testing.T) {
	t.Parallel()
	gap := func(from, until int) backstay.Gap {
		began := time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
		return backstay.Gap{From: began.Add(time.Duration(from) * time.Minute), Until: began.Add(time.Duration(until) * time.Minute)}
	}
	for _, tc := range []struct {
		lost, told backstay.Gap
		want       bool
	}{
		{gap(10, 20), gap(30, 40), true}, {gap(10, 30), gap(30, 40), true}, {gap(40, 50), gap(30, 40), true},
		{gap(29, 41), gap(30, 40), false}, {gap(29, 35), gap(30, 40), false}, {gap(35, 50), gap(30, 40), false},
	} {
		if got := untold([]backstay.Gap{tc.lost}, []backstay.Gap{tc.told}); (len(got) == 1) != tc.want {
			t.Errorf("of the loss %v, where %v was told, %v is to be told", tc.lost, tc.told, got)
		}
	}
}

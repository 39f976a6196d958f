package guess

import (
	"testing"
	"time"
)

func TestLockedUntil(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		count int
		wait  time.Duration
	}{
		{5, time.Second}, {6, 2 * time.Second}, {9, 16 * time.Second}, {13, 256 * time.Second}, {14, 5 * time.Minute},
		{1 << 30, 5 * time.Minute},
	} {
		if got := lockedUntil(Failures{Count: tc.count, Last: last}, 5).Sub(last); got != tc.wait {
			t.Errorf("%d failures: %v, want %v", tc.count, got, tc.wait)
		}
	}
	for count := range 5 {
		if got := lockedUntil(Failures{Count: count, Last: last}, 5); !got.IsZero() {
			t.Errorf("%d failures: locked until %v", count, got)
		}
	}
}

package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/internal/wait"
)

func TestUntil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, tries := time.Now(), 0
		err := wait.Until(t.Context(), wait.Every(5*time.Millisecond), func() (bool, error) {
			tries++
			return tries < 4, errors.New("not yet")
		})
		if err == nil || tries != 4 || time.Since(begun) != 15*time.Millisecond {
			t.Errorf("%d tries in %v ended with %v; want 4 in 15 ms, and the last one's error", tries, time.Since(begun), err)
		}
	})
}

func TestUntilContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		for _, last := range []error{refused, nil} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := wait.Until(ctx, wait.Every(300*time.Millisecond), func() (bool, error) { return true, last })
			want := last
			if want == nil {
				want = context.DeadlineExceeded
			}
			if !errors.Is(err, want) {
				t.Errorf("after tries that returned %v it returned %v; want %v", last, err, want)
			}
			cancel()
		}
	})
}

func TestGrowing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		_ = wait.Until(t.Context(), wait.Growing(80*time.Millisecond, 110*time.Millisecond), func() (bool, error) {
			at = append(at, time.Since(begun))
			return len(at) < 4, nil
		})
		want := []time.Duration{0, 80 * time.Millisecond, 180 * time.Millisecond, 290 * time.Millisecond}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("try %d at %v; want %v", i, at[i], want[i])
			}
		}
	})
}

package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		release, err := ts.take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, free := ts.try("b")
		if !free {
			t.Error("the turn of one instance holds up another")
		} else {
			other()
		}
		if _, free := ts.try("a"); free {
			t.Error("two have the turn")
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ts.take(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a turn that does not end: %v", err)
		}
		taken := make(chan func())
		go func() {
			next, err := ts.take(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			taken <- next
		}()
		synctest.Wait()
		select {
		case <-taken:
			t.Error("two have the turn")
		default:
		}
		release()
		(<-taken)()
		if len(ts.of) != 0 {
			t.Errorf("%d turns are kept that nobody has", len(ts.of))
		}
	})
}

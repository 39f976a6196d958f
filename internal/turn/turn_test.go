package turn_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/turn"
)

func TestTurn(t *testing.T) {
	t.Parallel()
	var one turn.Turn
	leave, err := one.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	impatient, giveUp := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	giveUp(enough)
	if _, err := one.Take(impatient); !errors.Is(err, enough) {
		t.Errorf("who gives up is told %v", err)
	}
	var count int
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			leave, err := one.Take(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			count++
		})
	}
	leave()
	all.Wait()
	if count != 50 {
		t.Errorf("%d of 50 had their turn", count)
	}
}

// Package turn has those who do the same do it one after the other, and lets whoever waits give up, which nobody can
// who waits for a mutex.
package turn

import (
	"context"
	"sync"
)

// Turn is had by one at a time. The zero Turn is free.
type Turn struct {
	once sync.Once
	had  chan struct{}
}

// Take waits for the turn until ctx ends, whose cause is the error then. Whoever has it calls leave once.
func (t *Turn) Take(ctx context.Context) (leave func(), err error) {
	t.once.Do(func() { t.had = make(chan struct{}, 1) })
	select {
	case t.had <- struct{}{}:
		return func() { <-t.had }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

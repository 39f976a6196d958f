package drill

import (
	"context"
	"sync"
)

// Course is a drill that goes on in a goroutine of its own. A nil Course is one that has ended.
type Course struct {
	cancel context.CancelFunc
	done   chan struct{}
	over   chan struct{} // closed once what was asked for is done
	once   sync.Once
}

// Start begins one. Over is closed once what was asked for is done.
func Start(life context.Context, course func(ctx context.Context, over <-chan struct{})) *Course {
	ctx, cancel := context.WithCancel(life)
	c := &Course{cancel: cancel, done: make(chan struct{}), over: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer cancel()
		course(ctx, c.over)
	}()
	return c
}

// IsUnderWay tells whether it goes on.
func (c *Course) IsUnderWay() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Conclude has it end as soon as a write was acknowledged that began afterwards.
func (c *Course) Conclude() {
	if c != nil {
		c.once.Do(func() { close(c.over) })
	}
}

// End interrupts it, and returns when it has ended.
func (c *Course) End() {
	if c != nil {
		c.cancel()
		<-c.done
	}
}

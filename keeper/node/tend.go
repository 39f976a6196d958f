package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/backstay/backstay/engine"
)

// tendEvery is how long what a user has put out of order may stay so.
const tendEvery = 2 * time.Second

// Tend has the engine tend the node, if it is one that does, until end is called or ctx ends. What is
// sent on anew makes it look again from the beginning, as when a user was created. Why the node must be
// killed, if it must, comes by stuck.
func (n Node) Tend(ctx context.Context, anew <-chan struct{}, log *slog.Logger) (stuck <-chan error, end func()) {
	t, ok := n.Engine.(engine.Tender)
	if !ok {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	reasons := make(chan error, 1)
	var tending sync.WaitGroup
	tending.Go(func() {
		if err := n.tend(ctx, t, anew, log); err != nil {
			reasons <- err
		}
	})
	return reasons, func() { cancel(); tending.Wait() }
}

// tend returns nil when ctx ends, and an error when the node must be killed.
func (n Node) tend(ctx context.Context, t engine.Tender, anew <-chan struct{}, log *slog.Logger) error {
	last, failures := "", 0
	for ctx.Err() == nil {
		var again <-chan time.Time // never, if there is nothing to tend
		now, mended, err := t.Tend(ctx, n.Node, last)
		for _, name := range mended {
			log.Warn("a user had changed what is not its to change; it is as before", "user", name)
		}
		if errors.Is(err, engine.ErrStuck) {
			return err
		}
		if err != nil {
			if failures++; failures == 2 { // the first may be of an engine that is about to end
				log.Warn("an instance cannot be tended; it is tried again and again", "error", err)
			}
		} else {
			last, failures = now, 0
		}
		if err != nil || now != "" {
			again = time.After(tendEvery)
		}
		select {
		case <-again:
		case <-anew:
			last = ""
		case <-ctx.Done():
		}
	}
	return nil
}

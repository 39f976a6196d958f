package keeper

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/backstay/backstay/engine"
)

// tendEvery is how long what a user has put out of order may stay so.
const tendEvery = 2 * time.Second

// beginTending has the engine tend its node, if it is one that does, until end is called. Why the node must be
// ended, if it must, comes by stuck.
func (s *supervisor) beginTending(ctx context.Context) (stuck <-chan error, end func()) {
	t, ok := s.engine().(engine.Tender)
	if !ok {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	reasons := make(chan error, 1)
	var tending sync.WaitGroup
	tending.Go(func() { s.tend(ctx, t, reasons) })
	return reasons, func() { cancel(); tending.Wait() }
}

func (s *supervisor) tend(ctx context.Context, t engine.Tender, stuck chan<- error) {
	n, err := s.node(s.current())
	if err != nil {
		s.k.Log.Error("an instance cannot be tended", "instance", s.id, "error", err)
		return
	}
	last, failures := "", 0
	for ctx.Err() == nil {
		var again <-chan time.Time // never, if there is nothing to tend
		now, mended, err := t.Tend(ctx, n, last)
		for _, name := range mended {
			s.k.Log.Warn("a user had changed what is not its to change; it is as before", "instance", s.id, "user", name)
		}
		if errors.Is(err, engine.ErrStuck) {
			stuck <- err
			return
		}
		if err != nil {
			if failures++; failures == 2 { // the first may be of an engine that is about to end
				s.k.Log.Warn("an instance cannot be tended; it is tried again and again", "instance", s.id, "error", err)
			}
		} else {
			last, failures = now, 0
		}
		if err != nil || now != "" {
			again = time.After(tendEvery)
		}
		select {
		case <-again:
		case <-s.user:
			last = ""
		case <-ctx.Done():
		}
	}
}

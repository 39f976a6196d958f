package keeper

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/instance"
)

// starts is the order in which the instances of a keeper that has just begun come up: our own databases first, the
// others a few at a time until the control plane is up beside them, and then all that are left.
type starts struct {
	ours  chan struct{} // closed when our own databases have come up, or take too long
	turns chan struct{} // holds one for each instance whose turn it is
	over  chan struct{} // closed when nobody takes turns any more
	end   func()        // closes over
}

const (
	headStart  = 3 * time.Second        // how long our own databases may take until the others come up beside them
	turnLimit  = 200 * time.Millisecond // how long an instance that comes up may keep the next one waiting
	turnsLimit = 3 * time.Second        // how long instances take turns where no control plane comes up
)

// newStarts leaves half of the processors to the control plane.
func newStarts() *starts {
	over := make(chan struct{})
	return &starts{
		ours: make(chan struct{}), turns: make(chan struct{}, max(1, runtime.NumCPU()/2)),
		over: over, end: sync.OnceFunc(func() { close(over) }),
	}
}

// bound ends the turns when they have lasted long enough.
func (s *starts) bound(ctx context.Context) {
	select {
	case <-s.ours:
	case <-ctx.Done():
	}
	if wait.Pause(ctx, turnsLimit) == nil {
		s.end()
	}
}

// take waits for the turn of an instance that is not our own. The turn lasts until awaitUp returns, whose context ends
// after the turn's limit: who waits for something else than a processor does not keep the others waiting.
func (s *starts) take(ctx context.Context, awaitUp func(context.Context)) {
	select {
	case <-s.ours:
	case <-ctx.Done():
		return
	}
	select {
	case <-s.over:
	case <-ctx.Done():
	case s.turns <- struct{}{}:
		go func() {
			limited, cancel := context.WithTimeout(ctx, turnLimit)
			defer cancel()
			awaitUp(limited)
			<-s.turns
		}()
	}
}

// awaitUp returns when the instance is not coming up any more, or when ctx ends.
func awaitUp(ctx context.Context, in *instance.Instance) {
	status, changed := in.Look()
	for ctx.Err() == nil && (status.Phase == backend.Preparing || status.Phase == backend.Starting) {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		status, changed = in.Look()
	}
}

package broker

import (
	"context"
	"sync"

	"github.com/backstay/backstay"
)

// turns lets one at a time work on an instance: whoever does anything to it in its backend takes the turn
// first, and reads what is to be done afterwards. The zero value is ready to use.
type turns struct {
	mu sync.Mutex
	of map[backstay.InstanceID]*turn
}

type turn struct {
	taken chan struct{} // has room for one
	users int           // who has it or waits for it
}

// take waits for the instance's turn, which release ends.
func (t *turns) take(ctx context.Context, id backstay.InstanceID) (release func(), err error) {
	its := t.join(id)
	select {
	case its.taken <- struct{}{}:
		return func() { t.end(id, its) }, nil
	case <-ctx.Done():
		t.leave(id, its)
		return nil, ctx.Err()
	}
}

// try takes the turn if nobody has it.
func (t *turns) try(id backstay.InstanceID) (release func(), ok bool) {
	its := t.join(id)
	select {
	case its.taken <- struct{}{}:
		return func() { t.end(id, its) }, true
	default:
		t.leave(id, its)
		return nil, false
	}
}

func (t *turns) join(id backstay.InstanceID) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	its := t.of[id]
	if its == nil {
		its = &turn{taken: make(chan struct{}, 1)}
		if t.of == nil {
			t.of = map[backstay.InstanceID]*turn{}
		}
		t.of[id] = its
	}
	its.users++
	return its
}

func (t *turns) end(id backstay.InstanceID, its *turn) {
	<-its.taken
	t.leave(id, its)
}

func (t *turns) leave(id backstay.InstanceID, its *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if its.users--; its.users == 0 {
		delete(t.of, id)
	}
}

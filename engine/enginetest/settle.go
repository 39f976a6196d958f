package enginetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/backstay/backstay/engine"
)

// testSettle settles a node while a client writes: the client notices nothing, and the node then ends and starts with
// all that it was told to keep.
func testSettle(t *testing.T, s Subject) {
	settler, ok := s.Engine.(engine.Settler)
	if !ok {
		t.Skip("this engine has nothing to do before its end")
	}
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	u := newUser()
	s.session(t, s.createUser(t, n, u), func(c Session) {
		ctx, cancel := context.WithCancel(t.Context())
		last, written := 0, sync.WaitGroup{}
		written.Go(func() {
			for ; ctx.Err() == nil; last++ {
				if err := c.Set(t.Context(), fmt.Sprint("k", last%1000), fmt.Sprint(last)); err != nil {
					t.Errorf("a client is disturbed: %v", err)
					return
				}
			}
		})
		for range 3 {
			if err := settler.Settle(t.Context(), n); err != nil {
				t.Errorf("Settle: %v", err)
			}
		}
		cancel()
		written.Wait()
		mustSet(t, c, "last", fmt.Sprint(last))
		wantValue(t, c, "last", fmt.Sprint(last))
	})
	if err := settler.Settle(t.Context(), n); err != nil {
		t.Errorf("Settle: %v", err)
	}
	p.Kill(t)
	Serve(t, s.Engine, n)
	s.session(t, s.createUser(t, n, u), func(c Session) {
		if last, err := c.Get(t.Context(), "last"); err != nil || last == "" {
			t.Errorf("the last value is %q, %v", last, err)
		}
	})
}

// settle settles the node if its engine can.
func settle(ctx context.Context, e engine.Engine, n engine.Node) error {
	if settler, ok := e.(engine.Settler); ok {
		return settler.Settle(ctx, n)
	}
	return nil
}

package enginetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/engine"
)

// testAllAtOnce calls everything that administers a running node concurrently: for different users, for one and the
// same user, and for the node.
func testAllAtOnce(t *testing.T, s Subject) {
	n := s.newNode(t)
	n.Size.Connections = 60 // the administrator's count too: this is not about a plan that is full
	Serve(t, s.Engine, n)
	same := newUser()
	all, ctx := errgroup.WithContext(t.Context())
	repeat := func(times int, do func() error) {
		all.Go(func() error {
			for range times {
				if err := do(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range 4 {
		repeat(4, func() error { return s.comeAndGo(ctx, n) })
		u := same
		u.ReadOnly = i%2 == 0
		repeat(6, func() error {
			_, err := s.Engine.CreateUser(ctx, n, u)
			return describe("create the same user", err)
		})
		repeat(6, func() error { return describe("drop the same user", s.Engine.DropUser(ctx, n, same.Name)) })
	}
	repeat(6, func() error { return describe("tend to the node", s.tendTo(ctx, n)) })
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	credentials := s.createUser(t, n, same)
	s.session(t, credentials, func(c Session) { mustSet(t, c, t.Name(), "v") })
	mustDrop(t, s, n, same)
	wantRefused(t, s, credentials)
}

// comeAndGo creates a user, writes as that user, and drops it.
func (s Subject) comeAndGo(ctx context.Context, n engine.Node) error {
	u := newUser()
	credentials, err := s.Engine.CreateUser(ctx, n, u)
	if err != nil {
		return describe("create a user", err)
	}
	c, err := s.Connect(ctx, credentials)
	if err != nil {
		return describe("connect", err)
	}
	err = describe("set", c.Set(ctx, u.Name, "v"))
	c.Close() // how it ends is no part of the contract
	return errors.Join(err, describe("drop a user", s.Engine.DropUser(ctx, n, u.Name)))
}

// tendTo calls everything that the keeper calls for a node that serves.
func (s Subject) tendTo(ctx context.Context, n engine.Node) (err error) {
	if c, ok := s.Engine.(engine.Configurer); ok {
		err = c.Configure(ctx, n)
	}
	if r, ok := s.Engine.(engine.Reloader); ok && err == nil {
		_, err = r.Reload(ctx, n)
	}
	if err == nil {
		err = settle(ctx, s.Engine, n)
	}
	if t, ok := s.Engine.(engine.Tender); ok && err == nil {
		_, _, err = t.Tend(ctx, n, "")
	}
	return errors.Join(err, s.Engine.Probe(ctx, n), s.Engine.Check(ctx, n))
}

func describe(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

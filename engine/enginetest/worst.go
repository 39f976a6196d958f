package enginetest

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Worst is the worst that a user may do to be in the way of those who administer its node, all of it within its
// rights.
type Worst struct {
	// Make leaves objects behind. It is called once in the life of a node.
	Make func(*testing.T, engine.Node, backstay.Credentials)
	// Hold opens sessions that hold what they can until the test ends, or they are turned out.
	Hold func(*testing.T, engine.Node, backstay.Credentials)
	// Connections are how many it takes to hold all of it three times.
	Connections int
}

// administrationPatience is how long each thing may take that the administrator asks of such a node: as long as the
// keeper has for it.
const administrationPatience = 20 * time.Second

// Whatever users have done and go on holding, the node is administered and they are dropped; and so it is when the
// node has been started again with all of that in it.
func testWorst(t *testing.T, s Subject) {
	if s.Worst.Hold == nil {
		t.Skip("this engine's own tests do their worst")
	}
	n := s.newNode(t)
	n.Size.Connections = s.Worst.Connections
	p := Serve(t, s.Engine, n)
	hostile, other := newUser(), newUser()
	credentials, others := s.createUser(t, n, hostile), s.createUser(t, n, other)
	s.Worst.Make(t, n, credentials)
	s.Worst.Hold(t, n, credentials)
	s.Worst.Hold(t, n, others)
	s.wantAdministered(t, n, hostile)
	wantRefused(t, s, credentials)
	p.Kill(t)
	p = Start(t, s.Engine, n)
	defer p.Kill(t) // what is held may keep it from ending in an orderly way
	s.Worst.Hold(t, n, others)
	s.wantAdministered(t, n, other)
}

// wantAdministered asks everything of the engine that asks the node, and drops the user at last.
func (s Subject) wantAdministered(t *testing.T, n engine.Node, hostile engine.User) {
	t.Helper()
	writer, reader := newUser(), newReader()
	create := func(u engine.User) func(context.Context) error {
		return func(ctx context.Context) error { _, err := s.Engine.CreateUser(ctx, n, u); return err }
	}
	drop := func(u engine.User) func(context.Context) error {
		return func(ctx context.Context) error { return s.Engine.DropUser(ctx, n, u.Name) }
	}
	for _, asked := range []struct {
		what string
		of   func(context.Context) error
	}{
		{"Probe", func(ctx context.Context) error { return s.Engine.Probe(ctx, n) }},
		{"Configure", func(ctx context.Context) error { return configure(ctx, s.Engine, n) }},
		{"Reload", func(ctx context.Context) error { return reload(ctx, s.Engine, n) }},
		{"Settle", func(ctx context.Context) error { return settle(ctx, s.Engine, n) }},
		{"CreateUser", create(writer)}, {"CreateUser, read-only", create(reader)},
		{"Tend", func(ctx context.Context) error { return tend(ctx, s.Engine, n) }},
		{"CreateUser again", create(hostile)},
		{"DropUser", drop(writer)}, {"DropUser, read-only", drop(reader)}, {"DropUser, hostile", drop(hostile)},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), administrationPatience)
		if err := asked.of(ctx); err != nil {
			t.Errorf("%s: %v", asked.what, err)
		}
		cancel()
	}
}

func configure(ctx context.Context, e engine.Engine, n engine.Node) error {
	if c, ok := e.(engine.Configurer); ok {
		return c.Configure(ctx, n)
	}
	return nil
}

func reload(ctx context.Context, e engine.Engine, n engine.Node) error {
	if r, ok := e.(engine.Reloader); ok {
		_, err := r.Reload(ctx, n)
		return err
	}
	return nil
}

func tend(ctx context.Context, e engine.Engine, n engine.Node) error {
	if tender, ok := e.(engine.Tender); ok {
		_, _, err := tender.Tend(ctx, n, "")
		return err
	}
	return nil
}

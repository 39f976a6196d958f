package keeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/keepertest"
)

// slowReader is PostgreSQL on a machine that is busy: two logins take longer than a moment there.
type slowReader struct {
	postgres.Engine
	takes time.Duration
}

func (e slowReader) CatchUp(ctx context.Context, primary, n engine.Node) error {
	if err := wait.Pause(ctx, e.takes); err != nil {
		return err
	}
	return e.Engine.CatchUp(ctx, primary, n)
}

// TestNodesAreReadFromOnABusyMachine: it takes longer there to find out whose sessions a node has. The node is read from
// once that is known, and the keeper that comes by later ends no session before.
func TestNodesAreReadFromOnABusyMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	p, c := products[0], keepertest.Config(t, 6)
	c.Engines["postgres"] = slowReader{takes: 700 * time.Millisecond}
	b, stop := keepertest.Run(t, c)
	spec := specOf(t, p)
	spec.Reading = readFrom(2)
	_, reads := mustBeRead(t, p, b, &spec)
	var sessions []writer
	for range 2 {
		sessions = append(sessions, mustRead(t, p, reads))
	}
	stop()
	c.Engines["postgres"] = slowReader{takes: 3 * time.Second}
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, isReadFrom(2))
	for _, r := range sessions {
		wantRead(t, r, true, 1)
	}
}

// TestUsersWhoComeEndNoSession: nodes that have not heard in time of a user who was made get no new sessions until they
// have, and who reads there goes on. Where a user was dropped, that may be who reads, and all sessions there end.
func TestUsersWhoComeEndNoSession(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	p, c := products[0], keepertest.Config(t, 6)
	c.Engines["postgres"] = slowReader{takes: 2 * time.Second}
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, p)
	spec.Reading = readFrom(2)
	_, reads := mustBeRead(t, p, b, &spec)
	r := mustRead(t, p, reads)
	wantRead(t, r, true, 1)
	made, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u3"))
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, p, made)
	wantRead(t, r, true, 1)
	until(t, b, spec.Instance, isReadFrom(2))
	wantRead(t, r, true, 1)
	if err := b.DropUser(t.Context(), spec.Instance, "u3"); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, r)
}

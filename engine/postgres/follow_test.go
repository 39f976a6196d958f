package postgres_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
)

// TestFollowsWithASmallerPlan starts a node that follows with less room for sessions and locks than its primary has: it
// has as much all the same, or it would not start.
func TestFollowsWithASmallerPlan(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	p.EndStandby(t)
	n := p.Standby()
	n.Size.Connections, n.Size.Memory = n.Size.Connections/2, n.Size.Memory/4
	enginetest.Serve(t, postgres.Engine{}, n)
	awaitStreaming(t, p)
}

func awaitStreaming(t *testing.T, p *enginetest.Pair) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f, err := p.Follows(t.Context(), p.Primary(), p.Standby())
		if err == nil && f.Streams {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not follow: %+v, %v", f, err)
		}
	}
}

// TestSlots: a node for which nothing is kept any more needs a copy, and an instance of one node keeps nothing.
func TestSlots(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	s := server{p.Primary()}
	s.admin(t).want(t, `SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'reserved'`, "1")
	p.EndStandby(t)
	single := p.Primary()
	single.Replication = nil
	if restart, err := (postgres.Engine{}).Reload(t.Context(), single); err != nil || restart {
		t.Errorf("a primary without a standby: %v, restart: %t", err, restart)
	}
	s.admin(t).want(t, `SELECT count(*) FROM pg_replication_slots`, "0")
	if restart, err := (postgres.Engine{}).Reload(t.Context(), p.Primary()); err != nil || restart {
		t.Errorf("a single node that is to be followed: %v, restart: %t", err, restart)
	}
	enginetest.Serve(t, postgres.Engine{}, p.Standby())
	if _, err := p.Follows(t.Context(), p.Primary(), p.Standby()); !errors.Is(err, engine.ErrCopy) {
		t.Errorf("a node for which nothing is kept: %v, want that it takes a copy", err)
	}
}

// TestRejoinInterrupted finds what a rejoining has left that was killed: before it began to change the data, that is put
// back; afterwards, the node takes a copy.
func TestRejoinInterrupted(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	p.KillPrimary(t)
	p.FailOver(t)
	if restart, err := (postgres.Engine{}).Reload(t.Context(), p.Primary()); err != nil || restart {
		t.Errorf("a node that has become the primary: %v, restart: %t", err, restart)
	}
	n := p.Standby()
	leave := func(isWhole bool) {
		t.Helper()
		part := n.DataDir + ".part"
		err := errors.Join(os.Mkdir(part, 0o700), os.Rename(n.DataDir, filepath.Join(part, "data")),
			os.Remove(filepath.Join(part, "data", "standby.signal")))
		if err == nil && isWhole {
			err = os.WriteFile(filepath.Join(part, "whole"), nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	leave(true)
	if err := p.Replicator.Rejoin(t.Context(), p.Primary(), n); err != nil {
		t.Fatalf("Rejoin: %v", err)
	}
	leave(false)
	if err := p.Replicator.Rejoin(t.Context(), p.Primary(), n); !errors.Is(err, engine.ErrCopy) {
		t.Fatalf("Rejoin of data that was being changed: %v, want that it takes a copy", err)
	}
	p.Copy(t)
	if left, err := filepath.Glob(n.DataDir + "*"); err != nil || len(left) != 1 {
		t.Errorf("beside the data lie %v, %v", left, err)
	}
}

// TestSessionsOfADroppedRoleEnd on a node that follows, once it has caught up: that the role may read nothing any more
// does not end them.
func TestSessionsOfADroppedRoleEnd(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	e, u := postgres.Engine{}, engine.User{Name: "u1", Password: "correcthorsebatterystaple", ReadOnly: true}
	c, err := e.CreateUser(t.Context(), p.Primary(), u)
	if err == nil {
		err = e.CatchUp(t.Context(), p.Primary(), p.Standby())
	}
	if err != nil {
		t.Fatal(err)
	}
	c["uri"] = strings.Replace(c["uri"].(string), strconv.Itoa(p.Primary().Endpoint.Port),
		strconv.Itoa(p.Standby().Endpoint.Port), 1)
	reader := binding{server: server{p.Standby()}, credentials: c}.connect(t)
	reader.want(t, "SELECT 1", "1")
	if err := e.DropUser(t.Context(), p.Primary(), u.Name); err != nil {
		t.Fatal(err)
	}
	if err := e.CatchUp(t.Context(), p.Primary(), p.Standby()); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the session of a role that was dropped goes on")
	}
}

// TestForget: nothing is kept any more for a node that was told to be gone, though its instance has others; also where the
// primary has not noticed yet that it is.
func TestForget(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	p.KillStandby(t)
	standby := p.Standby().Replication.Name
	for _, tc := range []struct{ name, left string }{{"never", "1"}, {standby, "0"}, {standby, "0"}} {
		if err := (postgres.Engine{}).Forget(t.Context(), p.Primary(), tc.name); err != nil {
			t.Errorf("Forget %q: %v", tc.name, err)
		}
		server{p.Primary()}.admin(t).want(t, `SELECT count(*) FROM pg_replication_slots`, tc.left)
	}
}

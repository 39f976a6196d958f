package kubernetes_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/lag"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// trail is a primary and the standby of an instance, each with a way into it.
type trail struct {
	primary, standby engine.Node
	uri              string
}

// session is one of a user on a node.
func (tr trail) session(t testing.TB, n engine.Node, user func(*pgx.ConnConfig)) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(tr.uri + "?sslmode=disable") // the way in is encrypted
	if err != nil {
		t.Fatal(err)
	}
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) }
	user(cfg)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func asClient(*pgx.ConnConfig) {}

func (l lab) trail(t testing.TB, b *kubernetes.Backend, spec backend.Spec) (tr trail) {
	t.Helper()
	st := l.serve(t, b, spec)
	tr.uri = l.table(t, b, spec)
	for _, n := range st.Nodes {
		into, err := b.Into(t.Context(), spec.Instance, n.Name)
		if err != nil {
			t.Fatal(err)
		}
		if n.Role == backend.Primary {
			tr.primary = into
		} else {
			tr.standby = into
		}
	}
	return tr
}

// TestTrail asks, by the engine's own means, how a standby follows that the operator keeps, and ends who reads there.
func TestTrail(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	b, _ := run(t, l.config(t, 30945, 30949))
	spec := l.spec(t, 2)
	tr := l.trail(t, b, spec)
	var e postgres.Engine
	f, err := e.Trails(t.Context(), tr.primary, tr.standby)
	if err != nil || !f.Streams || f.End == 0 || f.Read == 0 {
		t.Fatalf("the standby: %+v, %v", f, err)
	}
	if err := e.CatchUp(t.Context(), tr.primary, tr.standby); err != nil {
		t.Fatalf("catch up: %v", err)
	}
	reader := tr.session(t, tr.standby, asClient)
	operator := tr.session(t, tr.standby, func(cfg *pgx.ConnConfig) {
		secret, err := tr.standby.Admin.Secret()
		if err != nil {
			t.Fatal(err)
		}
		cfg.User, cfg.Password, cfg.Database = tr.standby.Admin.User, secret.Reveal(), "postgres"
	})
	if _, err := operator.Exec(t.Context(), "SELECT pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}
	writer := tr.session(t, tr.primary, asClient)
	var g lag.Gauge
	const most = 2 * time.Second
	await(t, "the standby to be too far behind", func(ctx context.Context) (bool, error) {
		if _, err := writer.Exec(ctx, "INSERT INTO acknowledged SELECT coalesce(max(n), 0) + 1 FROM acknowledged"); err != nil {
			return false, err
		}
		f, err := e.Trails(ctx, tr.primary, tr.standby)
		if err != nil {
			return false, err
		}
		now := time.Now()
		g.Look(f, now)
		g.Judge(now, most)
		return g.IsLate(), nil
	})
	if err := e.EndReaders(t.Context(), tr.standby); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("who reads from a standby that is too far behind goes on")
	}
	if _, err := operator.Exec(t.Context(), "SELECT pg_wal_replay_resume()"); err != nil {
		t.Fatal(err)
	}
	await(t, "the standby to have caught up", func(ctx context.Context) (bool, error) {
		f, err := e.Trails(ctx, tr.primary, tr.standby)
		now := time.Now()
		g.Look(f, now)
		g.Judge(now, most)
		return !g.IsLate(), err
	})
	reader, dropped := tr.session(t, tr.standby, asClient), time.Now()
	if err := b.DropUser(t.Context(), spec.Instance, "u1"); err != nil {
		t.Fatal(err)
	}
	if err := e.CatchUp(t.Context(), tr.primary, tr.standby); err != nil {
		t.Fatal(err)
	}
	t.Logf("a user was dropped, and the standby knew it, after %v", time.Since(dropped))
	if _, err := reader.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a user that was dropped has a session on the standby")
	}
}

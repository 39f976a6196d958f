package kubernetes_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestForward gets into each node of an instance, and knows by what it says that it is that one.
func TestForward(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	b, _ := run(t, l.config(t, 30940, 30944))
	spec := l.spec(t, 2)
	st := l.serve(t, b, spec)
	c, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u1", Password: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range st.Nodes {
		cfg, err := pgx.ParseConfig(c["uri"].(string) + "?sslmode=require")
		if err != nil {
			t.Fatal(err)
		}
		cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
		cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel() // a connection goes on without what it was made within
			return l.forwards(ctx, l.namespace, n.Name, 5432)
		}
		began := time.Now()
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatalf("connect to %s: %v", n.Name, err)
		}
		connected := time.Since(began)
		var follows bool
		if err := conn.QueryRow(t.Context(), "SELECT pg_is_in_recovery()").Scan(&follows); err != nil {
			t.Errorf("ask %s: %v", n.Name, err)
		}
		t.Logf("connected to %s after %v, asked after %v", n.Name, connected, time.Since(began))
		if follows != (n.Role == backend.Standby) {
			t.Errorf("%s is a %s, and says that it follows: %t", n.Name, n.Role, follows)
		}
		within, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := conn.Exec(within, "SELECT pg_sleep(60)"); err == nil {
			t.Errorf("%s slept for a minute", n.Name)
		}
		cancel()
		conn.Close(t.Context())
	}
	within, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if conn, err := l.forwards(within, l.namespace, "absent", 5432); err == nil {
		conn.Close()
		t.Error("it connects to a pod that is not there")
	}
}

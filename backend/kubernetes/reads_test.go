package kubernetes_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/testkit"
)

// reads is an instance with somebody who writes, and others who read from its replicas.
type reads struct {
	lab
	spec   backend.Spec
	uri    string // of who writes
	reader string // of who reads
}

func (l lab) reads(t *testing.T, b backend.Backend, spec backend.Spec) *reads {
	t.Helper()
	l.serve(t, b, spec)
	r := &reads{lab: l, spec: spec, uri: l.table(t, b, spec)}
	r.reader = r.give(t, b, "u2")
	return r
}

// give has somebody be given the address for reads.
func (r *reads) give(t *testing.T, b backend.Backend, name string) (uri string) {
	t.Helper()
	began := time.Now()
	c, err := b.CreateUser(t.Context(), r.spec.Instance,
		backend.User{Name: name, Password: "p", ReadOnly: true, Replica: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s may read after %v", name, time.Since(began))
	return c["uri"].(string) + "?sslmode=require"
}

// at is a session of who reads, and whether it is on a node that follows.
func (r *reads) at(ctx context.Context, uri string) (conn *pgx.Conn, follows bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if conn, err = r.open(ctx, uri); err != nil {
		return nil, false, err
	}
	return conn, follows, conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&follows)
}

// on returns a session of who reads once it is on a standby, or on the primary.
func (r *reads) on(t *testing.T, role backend.Role) (conn *pgx.Conn) {
	t.Helper()
	began := time.Now()
	await(t, "reads from the "+string(role), func(ctx context.Context) (bool, error) {
		next, follows, err := r.at(ctx, r.reader)
		if err == nil && follows == (role == backend.Standby) {
			conn = next
			return true, nil
		}
		if next != nil {
			next.Close(ctx)
		}
		return false, nil
	})
	t.Cleanup(func() { conn.Close(context.Background()) })
	t.Logf("it is read from the %s after %v", role, time.Since(began))
	return conn
}

// wantEnded wants a session to be ended, or to end in a moment.
func wantEnded(t *testing.T, what string, conn *pgx.Conn) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < 5*time.Second {
		if _, err := conn.Exec(t.Context(), "SELECT pg_sleep(0.1)"); err != nil {
			return
		}
	}
	t.Errorf("%s goes on", what)
}

// replays has a standby go on with what it is sent, or not.
func (r *reads) replays(t *testing.T, b *kubernetes.Backend, node, how string) {
	t.Helper()
	into, err := b.Into(t.Context(), r.spec.Instance, node)
	if err != nil {
		t.Fatal(err)
	}
	tr := trail{standby: into, uri: strings.TrimSuffix(r.uri, "?sslmode=require")}
	conn := tr.session(t, into, func(cfg *pgx.ConnConfig) {
		secret, err := into.Admin.Secret()
		if err != nil {
			t.Fatal(err)
		}
		cfg.User, cfg.Password, cfg.Database = into.Admin.User, secret.Reveal(), "postgres"
	})
	if _, err := conn.Exec(t.Context(), "SELECT pg_wal_replay_"+how+"()"); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
}

func (r *reads) write(t *testing.T) {
	t.Helper()
	conn, err := r.open(t.Context(), r.uri+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	const next = "INSERT INTO acknowledged SELECT coalesce(max(n), 0) + 1 FROM acknowledged"
	if _, err := conn.Exec(t.Context(), next); err != nil {
		t.Fatal(err)
	}
}

// serving are the nodes that serve reads.
func serving(st backend.Status) (names []string) {
	for _, n := range st.Nodes {
		if n.Reads {
			names = append(names, n.Name)
		}
	}
	return names
}

func standbyOf(st backend.Status) string {
	for _, n := range st.Nodes {
		if n.Role == backend.Standby {
			return n.Name
		}
	}
	return ""
}

// readFromStandby tells whether the instance is whole, and is read from the standby alone.
func readFromStandby(generation int64) func(backend.Status) bool {
	return func(st backend.Status) bool {
		return guarded(generation, 2)(st) && slices.Equal(serving(st), []string{standbyOf(st)}) && len(st.Troubles) == 0
	}
}

// TestReads has a pair be read from the standby while that is young enough, answers and knows whose sessions may be
// there; and from the primary otherwise. Who was dropped reads nothing.
func TestReads(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	b, _ := run(t, l.config(t, 30945, 30949))
	spec := l.spec(t, 2)
	spec.Reading.MaxLag = 2
	t.Cleanup(func() { l.wantNothing(t) })
	r := l.reads(t, b, spec)
	session := r.on(t, backend.Standby)
	st := until(t, b, spec.Instance, "who serves reads", readFromStandby(1))
	if st.Reads.Host != l.host || st.Reads.Port == 0 || st.Reads.Port == st.Endpoint.Port {
		t.Errorf("it is read from at %v", st.Reads)
	}
	standby := standbyOf(st)

	r.replays(t, b, standby, "pause")
	r.write(t)
	until(t, b, spec.Instance, "a standby that is late", func(st backend.Status) bool {
		return slices.Equal(serving(st), []string{primaryOf(st)}) && len(st.Troubles) == 1 &&
			strings.HasPrefix(st.Troubles[0].Sentence, "The standby is behind by more than max_replica_lag, 2s.")
	})
	wantEnded(t, "who reads from a standby that is too far behind", session)
	r.on(t, backend.Primary)
	r.replays(t, b, standby, "resume")
	until(t, b, spec.Instance, "it to have caught up", readFromStandby(1))
	r.on(t, backend.Standby)

	// A user is dropped on a standby that knows it at once, and on one that cannot.
	other := r.give(t, b, "u3")
	r.on(t, backend.Standby) // a busy machine may be late with it
	dropped, _, err := r.at(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	session = r.on(t, backend.Standby)
	began := time.Now()
	if err := b.DropUser(t.Context(), spec.Instance, "u3"); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("a user was dropped after %v", took)
	if _, err := dropped.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a user that was dropped has a session on the standby")
	}
	// On a machine that is too busy for the standby to know in time, it is not read from for a moment.
	if _, err := session.Exec(t.Context(), "SELECT 1"); err != nil && took < 3*time.Second {
		t.Errorf("the session of another user: %v", err)
	}
	session = r.on(t, backend.Standby)
	r.replays(t, b, standby, "pause")
	began = time.Now()
	if err := b.DropUser(t.Context(), spec.Instance, "u2"); err != nil {
		t.Fatal(err)
	}
	t.Logf("a user was dropped that a standby knows still after %v", time.Since(began))
	if _, err := session.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a user that was dropped has a session on a standby that knows it still")
	}
	if conn, _, err := r.at(t.Context(), r.reader); err == nil {
		conn.Close(t.Context())
		t.Error("a user that was dropped gets a session on a standby that knows it still")
	}
	r.replays(t, b, standby, "resume")
	until(t, b, spec.Instance, "it to know", readFromStandby(1))

	// No node is to be read from but the primary; then the standby again, by the same address.
	r.reader = r.give(t, b, "u2")
	session = r.on(t, backend.Standby)
	none, one := 0, 1
	spec.Generation, spec.Reading.Replicas = 2, &none
	mustApply(t, b, spec)
	wantEnded(t, "who reads from a standby that is not to be read from", session)
	r.on(t, backend.Primary)
	spec.Generation, spec.Reading.Replicas = 3, &one
	mustApply(t, b, spec)
	r.on(t, backend.Standby)
}

// TestReadsSurvive a failover, the loss of the primary and of the standby, and the end of the platform in the middle.
func TestReadsSurvive(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	m := &mortal{t: t, c: l.config(t, 30950, 30953)}
	m.begin()
	t.Cleanup(func() { l.wantNothing(t) })
	spec := l.spec(t, 2)
	r := l.reads(t, m, spec)
	defer removed(t, m, spec.Instance) // the last platform ends before what l.serve has the test's end do
	session := r.on(t, backend.Standby)
	m.kill()
	if _, err := session.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("with the platform ended a session: %v", err)
	}
	st := until(t, m, spec.Instance, "another platform to know who serves reads", readFromStandby(1))
	if _, err := session.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("with another platform ended a session: %v", err)
	}
	port := st.Reads.Port

	spec.Generation, spec.Failovers = 2, 1
	mustApply(t, m, spec)
	m.kill()
	st = until(t, m, spec.Instance, "a failover, and reads from the other one", readFromStandby(2))
	r.on(t, backend.Standby)
	r.write(t)

	for _, lost := range []string{primaryOf(st), standbyOf(st)} {
		zero := int64(0)
		pod := l.client.Resource(pods).Namespace(l.namespace)
		if err := pod.Delete(t.Context(), lost, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		m.kill()
		st = until(t, m, spec.Instance, "all nodes, and reads from the standby", readFromStandby(2))
		r.on(t, backend.Standby)
		r.write(t)
	}
	if st.Reads.Port != port {
		t.Errorf("it was read from at port %d, and is at %d", port, st.Reads.Port)
	}
}

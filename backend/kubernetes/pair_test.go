package kubernetes_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/engine/enginetest"
)

// until follows an instance until it is as wanted.
func until(
	t *testing.T, b *kubernetes.Backend, id backstay.InstanceID, what string, wanted func(backend.Status) bool,
) (st backend.Status) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		next, err := b.Await(ctx, id, st.Revision)
		if err != nil {
			t.Fatalf("wait for %s: %v; it was %+v", what, err, st)
		}
		if st = next; wanted(st) {
			return st
		}
	}
}

// writer commits one row after the other, as its clients do, and notes what was acknowledged.
type writer struct {
	lab
	uri   string
	ended chan struct{}

	mu    sync.Mutex
	acked []int64       // what was acknowledged
	gap   time.Duration // the longest without
}

func write(t *testing.T, l lab, uri string) *writer {
	w := &writer{lab: l, uri: uri + "?sslmode=require&connect_timeout=2", ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(w.ended)
		before := time.Now()
		for next := int64(1); ctx.Err() == nil; {
			within, done := context.WithTimeout(ctx, 3*time.Second)
			conn, err := w.open(within, w.uri)
			for err == nil && ctx.Err() == nil {
				within, done := context.WithTimeout(ctx, 3*time.Second)
				if _, err = conn.Exec(within, "INSERT INTO acknowledged VALUES ($1)", next); err == nil {
					w.mu.Lock()
					w.acked = append(w.acked, next)
					w.gap = max(w.gap, time.Since(before))
					w.mu.Unlock()
					before = time.Now()
				}
				next++ // what failed may be there nevertheless
				done()
			}
			if conn != nil {
				conn.Close(within)
			}
			done()
			time.Sleep(20 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-w.ended })
	return w
}

// TestPair has a primary of several be replaced, on request and because it is lost, under somebody who writes.
func TestPair(t *testing.T) {
	for name, nodes := range map[string]int{"two": 2, "three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			first := 30160 + 4*nodes
			b, _ := run(t, l.config(t, first, first+3))
			t.Cleanup(func() { l.wantNothing(t) })
			tryPair(t, l, b, nodes)
		})
	}
}

func tryPair(t *testing.T, l lab, b *kubernetes.Backend, nodes int) {
	spec := backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: "postgres", Version: "15", Nodes: nodes,
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20},
		TLS:  enginetest.Certificate(t, l.host),
	}
	began := time.Now()
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removed(t, b, spec.Instance) })
	st := until(t, b, spec.Instance, "a protected pair", func(st backend.Status) bool {
		return st.Phase == backend.Running && !st.Protected.IsZero()
	})
	t.Logf("%d nodes serve after %s: %+v", nodes, time.Since(began).Round(100*time.Millisecond), st.Nodes)
	if len(st.Nodes) != nodes {
		t.Errorf("of %d nodes there are %+v", nodes, st.Nodes)
	}
	c, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u1", Password: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	uri := c["uri"].(string)
	conn, err := l.open(t.Context(), uri+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE acknowledged (n bigint PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	w := write(t, l, uri)
	before := primaryOf(st)
	spec.Generation, spec.Failovers = 2, 1
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	st = until(t, b, spec.Instance, "a failover on request", func(st backend.Status) bool {
		return st.Phase == backend.Running && st.Generation == 2 && !st.Protected.IsZero()
	})
	if now := primaryOf(st); now == before || st.Failover == nil || !st.Failover.Planned {
		t.Errorf("after %s serves %s, with %+v", before, now, st.Failover)
	}
	before = primaryOf(st)
	zero := int64(0)
	nodesOf := l.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(l.namespace)
	ended, err := nodesOf.Get(t.Context(), before, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodesOf.Delete(t.Context(), before, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	acked := w.count()
	await(t, "another pod, and writes", func(ctx context.Context) (bool, error) {
		o, err := nodesOf.Get(ctx, before, metav1.GetOptions{})
		return err == nil && o.GetUID() != ended.GetUID() && w.count() > acked, nil
	})
	st = until(t, b, spec.Instance, "all nodes", func(st backend.Status) bool {
		return st.Phase == backend.Running && !st.Protected.IsZero() && len(st.Nodes) == nodes
	})
	// The operator may have the same one be the primary again, if it is back at once.
	if st.Failover == nil || st.Failover.Planned != (primaryOf(st) == before) {
		t.Errorf("after %s was lost serves %s, with %+v", before, primaryOf(st), st.Failover)
	}
	w.wantAll(t)
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

func primaryOf(st backend.Status) string {
	for _, n := range st.Nodes {
		if n.Role == backend.Primary {
			return n.Name
		}
	}
	return ""
}

// wantAll wants whatever was acknowledged to be there.
func (w *writer) wantAll(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	acked, gap := slices.Clone(w.acked), w.gap
	w.mu.Unlock()
	conn, err := w.open(t.Context(), w.uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var lost int
	const missing = "SELECT count(*) FROM unnest($1::bigint[]) AS acked WHERE acked NOT IN (SELECT n FROM acknowledged)"
	if err := conn.QueryRow(t.Context(), missing, acked).Scan(&lost); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows were acknowledged; the longest gap was %s", len(acked), gap)
	if lost > 0 || len(acked) == 0 {
		t.Errorf("of %d rows that were acknowledged, %d are not there", len(acked), lost)
	}
}

func removed(t *testing.T, b *kubernetes.Backend, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute) // a last backup is taken
	defer cancel()
	err := b.Remove(ctx, id)
	for revision := int64(0); err == nil; {
		var st backend.Status
		st, err = b.Await(ctx, id, revision)
		revision = st.Revision
	}
	if backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("remove: %v", err)
	}
}

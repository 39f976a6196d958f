package kubernetes_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
)

// until follows an instance until it is as wanted.
func until(
	t testing.TB, b backend.Backend, id backstay.InstanceID, what string, wanted func(backend.Status) bool,
) (st backend.Status) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
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
	last  time.Time     // when
	gap   time.Duration // the longest without
}

func write(t testing.TB, l lab, uri string) *writer {
	w := &writer{lab: l, uri: uri + "?sslmode=require&connect_timeout=2", ended: make(chan struct{}), last: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(w.ended)
		for next := int64(1); ctx.Err() == nil; {
			within, done := context.WithTimeout(ctx, 3*time.Second)
			conn, err := w.open(within, w.uri)
			for err == nil && ctx.Err() == nil {
				within, done := context.WithTimeout(ctx, 3*time.Second)
				if _, err = conn.Exec(within, "INSERT INTO acknowledged VALUES ($1)", next); err == nil {
					w.mu.Lock()
					w.acked = append(w.acked, next)
					w.gap, w.last = max(w.gap, time.Since(w.last)), time.Now()
					w.mu.Unlock()
				}
				next++ // what failed may be there nevertheless
				done()
				time.Sleep(5 * time.Millisecond) // others want the machine as well
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
	t.Parallel()
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
	spec := l.spec(t, nodes)
	began := time.Now()
	st := l.serve(t, b, spec)
	t.Logf("%d nodes serve after %s: %+v", nodes, time.Since(began).Round(100*time.Millisecond), st.Nodes)
	w := write(t, l, l.table(t, b, spec))
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
	nodesOf := l.client.Resource(pods).Namespace(l.namespace)
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

// lap returns the longest time without a commit since it was called before.
func (w *writer) lap() (gap time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gap, w.gap = max(w.gap, time.Since(w.last)), 0
	return gap
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
	var conn *pgx.Conn
	await(t, "a session", func(ctx context.Context) (bool, error) { // a busy machine may be late for one
		within, done := context.WithTimeout(ctx, 20*time.Second)
		defer done()
		var err error
		conn, err = w.open(within, w.uri)
		return err == nil, nil
	})
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

func removed(t testing.TB, b backend.Backend, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
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

package kubernetes_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/testkit"
)

// drilled waits for the end of the drill that a generation has called for.
func drilled(t *testing.T, b *kubernetes.Backend, id backstay.InstanceID, generation int64) backend.Drill {
	t.Helper()
	st := until(t, b, id, "the end of the drill", func(st backend.Status) bool {
		return serves(st) && st.Generation == generation && st.Drill != nil && st.Drill.Generation == generation &&
			!st.Drill.Ended.IsZero()
	})
	t.Logf("a drill has seen %+v", *st.Drill)
	return *st.Drill
}

// wantNoDriller waits for nothing to be left of who has written in a drill, as far as clients could see that.
func (l lab) wantNoDriller(t *testing.T, uri string) {
	t.Helper()
	await(t, "the end of who has written", func(ctx context.Context) (bool, error) {
		conn, err := l.open(ctx, uri+"?sslmode=require")
		if err != nil {
			return false, err
		}
		defer conn.Close(ctx)
		var left int
		err = conn.QueryRow(ctx, "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%drill%'").Scan(&left)
		return left == 0, err
	})
}

// TestDrills of a change of the primary, and of a restart: what they cost clients is seen by the address that these
// have, as another client sees it, and nothing is left of who saw it. A drill whose Backstay is killed goes on with the
// next one.
func TestDrills(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	c := l.config(t, 30490, 30493)
	t.Cleanup(func() { l.wantNothing(t) })
	b, stop := run(t, c)
	s := l.spec(t, 2)
	mustApply(t, b, s)
	ready := func() {
		t.Helper()
		until(t, b, s.Instance, "the instance", guarded(s.Generation, 2))
	}
	ready()
	uri := l.table(t, b, s)

	w := write(t, l, uri)
	s.Generation, s.Failovers = 2, 1
	mustApply(t, b, s)
	d := drilled(t, b, s.Instance, 2)
	w.mu.Lock()
	gap := w.gap
	w.mu.Unlock()
	if !d.Changed || d.Lost != 0 || d.Written < 2 || d.Trouble != "" || d.Failed < gap/4 || d.Failed > 4*gap+time.Second {
		t.Errorf("a drill has seen %+v, and another client %s without a write", d, gap)
	}
	l.wantNoDriller(t, uri)

	ready()
	s.Generation, s.Restarts = 3, 1
	mustApply(t, b, s)
	until(t, b, s.Instance, "a drill", func(st backend.Status) bool {
		return st.Drill != nil && st.Drill.Generation == 3 && st.Drill.Ended.IsZero()
	})
	await(t, "what the drill has seen", func(ctx context.Context) (bool, error) {
		o, err := l.client.Resource(secrets).Namespace(l.namespace).Get(ctx, "bs-"+string(s.Instance)+"-record",
			metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		encoded, _, _ := unstructured.NestedString(o.Object, "data", "record")
		text, err := base64.StdEncoding.DecodeString(encoded)
		return strings.Contains(string(text), `"seen":`), err
	})
	stop()
	b, _ = run(t, c)
	t.Cleanup(func() { removed(t, b, s.Instance) })
	if d := drilled(t, b, s.Instance, 3); d.Lost != 0 || d.Trouble == "" {
		t.Errorf("a drill whose Backstay was killed has seen %+v", d)
	}
	l.wantNoDriller(t, uri)
	held, err := b.Drills(t.Context())
	if err != nil || len(held[s.Instance]) != 2 {
		t.Errorf("of drills is known %+v, %v", held, err)
	}
	beside := kubernetes.New(c)
	if err := beside.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready()
	st, err := beside.Look(t.Context(), s.Instance)
	if err != nil || !guarded(3, 2)(st) || st.Drill == nil || st.Drill.Generation != 3 {
		t.Errorf("who looks beside it finds %+v, %v", st, err)
	}
}

package keeper_test

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper/keepertest"
)

// isProtected tells whether an instance of two serves, and its standby lacks nothing.
func isProtected(s backend.Status) bool {
	return s.Phase == backend.Running && len(s.Nodes) == 2 && s.Nodes[1].Phase == backend.Running
}

// mustPair makes an instance of two, and returns how an app reaches it.
func mustPair(t *testing.T, b *local.Backend) (spec backend.Spec, uri string) {
	t.Helper()
	spec = newSpec(t)
	spec.Nodes = 2
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, isProtected)
	u := backend.User{Name: "writer1", Password: "correcthorsebatterystaple"}
	c, err := b.CreateUser(t.Context(), spec.Instance, u)
	if err != nil {
		t.Fatal(err)
	}
	return spec, c["uri"].(string) + "?sslmode=require"
}

// pairWriters are clients that note what they were told is committed.
type pairWriters struct {
	uri   string
	next  atomic.Int64
	mu    sync.Mutex
	acked []int64
	last  time.Time
	gap   time.Duration // the longest between two acknowledgements
}

// run writes with several connections until ctx ends.
func (w *pairWriters) run(ctx context.Context, connections int) (wait func()) {
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for ctx.Err() == nil {
				w.connect(ctx)
			}
		})
	}
	return all.Wait
}

func (w *pairWriters) connect(ctx context.Context) {
	conn, err := pgx.Connect(ctx, w.uri)
	if err != nil {
		return
	}
	defer conn.Close(context.Background())
	for ctx.Err() == nil {
		i := w.next.Add(1)
		if _, err := conn.Exec(ctx, "INSERT INTO noted VALUES ($1)", i); err != nil {
			return
		}
		w.note(i)
	}
}

func (w *pairWriters) note(i int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.last.IsZero() {
		w.gap = max(w.gap, now.Sub(w.last))
	}
	w.acked, w.last = append(w.acked, i), now
}

// longest returns the longest gap since the last call.
func (w *pairWriters) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	gap := w.gap
	w.gap = 0
	return gap
}

// TestPairLosesNothing: the primary of an instance of two is killed, or hangs, again and again, under clients that
// write. The standby takes over, what was acknowledged is all there, and the instance heals by itself.
func TestPairLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	c := keepertest.Config(t, 4)
	b, _ := keepertest.Run(t, c)
	spec, uri := mustPair(t, b)
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE noted (i bigint)"); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	w := &pairWriters{uri: uri}
	wait := w.run(ctx, 4)
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		time.Sleep(time.Second)
		w.longest()
		primary := until(t, b, spec.Instance, isProtected).Nodes[0].Name
		admin, err := b.Admin(t.Context(), spec.Instance)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(admin.PID, s); err != nil {
			t.Fatal(err)
		}
		until(t, b, spec.Instance, func(s backend.Status) bool { return isProtected(s) && s.Nodes[0].Name != primary })
		t.Logf("%v: %v without an acknowledgement", s, w.longest())
		time.Sleep(31 * time.Second)
	}
	stop()
	wait()
	checkNoted(t, uri, w.acked)
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
}

// checkNoted looks for each commit that was acknowledged.
func checkNoted(t *testing.T, uri string, acked []int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT i FROM noted")
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	has := map[int64]bool{}
	for _, i := range found {
		has[i] = true
	}
	for _, i := range acked {
		if !has[i] {
			t.Errorf("commit %d was acknowledged and is lost", i)
		}
	}
	t.Logf("%d commits were acknowledged", len(acked))
}

package keeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
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

// TestKeeperDiesBehindEveryPairStep leads instances of two through whole lives, with keepers of which each dies behind
// another step. What was committed before is there at each turn, and nothing is left in the end.
func TestKeeperDiesBehindEveryPairStep(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	t.Parallel()
	c := keepertest.Config(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	lead := func(enough <-chan struct{}) error {
		for {
			if err := leadPair(ctx, c, newSpec(t)); err != nil {
				return err
			}
			select {
			case <-enough:
				return nil
			default:
			}
		}
	}
	dieBehindEach(t, c, keeper.PairStepNames(), lead, func(*keeper.Config, string) {})
}

// leadPair takes an instance of two through its life: it becomes protected, fails over, loses its standby, and becomes an
// instance of one.
func leadPair(ctx context.Context, c keeper.Config, spec backend.Spec) error {
	b := local.New(keepertest.Socket(c))
	spec.Nodes = 2
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	credentials, err := user(ctx, b, spec.Instance)
	if err != nil {
		return err
	}
	uri := credentials["uri"].(string) + "?sslmode=require"
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		return err
	}
	if err := add(ctx, uri, 1); err != nil {
		return err
	}
	spec.Generation, spec.Failovers = 2, 1
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := add(ctx, uri, 2); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		return err
	}
	killIn(filepath.Join(c.DataDir, "instances", string(spec.Instance), "data")) // the primary before, now the standby
	if err := add(ctx, uri, 3); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		return err
	}
	spec.Generation, spec.Nodes = 3, 1
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 1 }); err != nil {
		return err
	}
	if err := add(ctx, uri, 4); err != nil {
		return err
	}
	return end(ctx, b, spec.Instance)
}

// killIn kills the PostgreSQL with that data directory, if it runs.
func killIn(dataDir string) {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if pid, err := strconv.Atoi(line); err == nil && process.WorksIn(pid, filepath.Dir(dataDir)) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// add commits the row that has the number, as soon as the instance takes that, and looks for those before.
func add(ctx context.Context, uri string, number int) error {
	var found int
	err := wait.Until(ctx, wait.Every(50*time.Millisecond), func() (again bool, err error) {
		conn, err := pgx.Connect(ctx, uri)
		if err != nil {
			return true, err
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS added (i int PRIMARY KEY)"); err != nil {
			return true, err
		}
		if _, err := conn.Exec(ctx, "INSERT INTO added VALUES ($1) ON CONFLICT DO NOTHING", number); err != nil {
			return true, err
		}
		err = conn.QueryRow(ctx, "SELECT count(*) FROM added").Scan(&found)
		return err != nil, err
	})
	if err == nil && found != number {
		err = fmt.Errorf("%d rows were committed, and %d are there", number, found)
	}
	return err
}

package keeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// isFollower is an app that can tell whether the node that serves it follows another one.
type isFollower interface {
	follows(ctx context.Context) (bool, error)
}

func (w postgresWriter) follows(ctx context.Context) (follows bool, err error) {
	return follows, w.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&follows)
}

func (w mysqlWriter) follows(ctx context.Context) (follows bool, err error) {
	return follows, w.QueryRowContext(ctx, "SELECT @@read_only").Scan(&follows)
}

func (w redisWriter) follows(ctx context.Context) (bool, error) {
	role, err := w.Do(ctx, "ROLE").Slice()
	return len(role) > 0 && role[0] == "slave", err
}

// replicaUser is a user that reads from a replica.
func replicaUser(name string) backend.User {
	return backend.User{Name: name, Password: "correcthorsebatterystaple", ReadOnly: true, Replica: true}
}

// isRead tells whether a protected instance of two has its standby read from.
func isRead(s backend.Status) bool { return isProtected(s) && s.Nodes[1].Reads }

// mustReader connects an app that reads from a replica.
func mustRead(t *testing.T, p product, c backstay.Credentials) writer {
	t.Helper()
	w, err := p.open(t.Context(), c)
	if err != nil {
		t.Fatalf("connect to a replica: %v", err)
	}
	t.Cleanup(w.close)
	return w
}

// wantRead wants the reader to see these numbers within a moment, and to be served by a node that follows, or not.
func wantRead(t *testing.T, w writer, follows bool, numbers ...int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var found []int
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		found, err = w.(noter).noted(ctx)
		slices.Sort(found)
		return err == nil && !slices.Equal(found, numbers), err
	})
	if err != nil {
		t.Errorf("a reader sees %v (%v), want %v", found, err, numbers)
	}
	if now, err := w.(isFollower).follows(ctx); err != nil || now != follows {
		t.Errorf("a reader is served by a node that follows: %t (%v), want %t", now, err, follows)
	}
}

// wantEnded wants a session to be over, and not to be served any more.
func wantEnded(t *testing.T, w writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := w.(noter).noted(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a session that was to end goes on, or hangs: %v", err)
	}
}

// wantShutOut wants credentials not to be let in.
func wantShutOut(t *testing.T, p product, c backstay.Credentials) {
	t.Helper()
	if w, err := p.open(t.Context(), c); err == nil {
		w.close()
		t.Error("the credentials of a user that was dropped are let in")
	}
}

func mustNoteAs(t *testing.T, p product, c backstay.Credentials, numbers ...int) {
	t.Helper()
	w, err := openNoter(t.Context(), p, c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.(writer).close()
	for _, n := range numbers {
		if err := w.note(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStandbyIsReadFrom: a user of the reading address reads from the standby, and changes nothing; its end is that of its
// sessions there. The address stays through the loss of the keeper, of either node and of the standby as a whole.
func TestStandbyIsReadFrom(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, kill, _ := keepertest.Start(t, c, "")
		spec := specOf(t, p)
		if spec.Nodes = 1; p.engine == "postgres" {
			mustApplySpec(t, b, spec)
			until(t, b, spec.Instance, running)
			if _, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u2")); backstay.KindOf(err) != backstay.Unsupported {
				t.Errorf("a user of a replica that is not there: %v", err)
			}
			spec.Generation++
		}
		spec.Nodes = 2
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, isProtected)
		writes := mustCredentials(t, b, spec.Instance)
		mustNoteAs(t, p, writes, 1)
		reads, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u2"))
		if err != nil {
			t.Fatal(err)
		}
		if reads["port"] == writes["port"] {
			t.Error("reads and writes have one address")
		}
		until(t, b, spec.Instance, isRead)
		r := mustRead(t, p, reads)
		wantRead(t, r, true, 1)
		if err := r.(noter).note(t.Context(), 2); err == nil {
			t.Error("a user that is to read changes something")
		}

		kill() // the keeper
		wantRead(t, r, true, 1)
		b, _, _ = keepertest.Start(t, c, "")
		until(t, b, spec.Instance, isRead)
		mustNoteAs(t, p, writes, 2)
		wantRead(t, r, true, 1, 2)

		gone, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u3"))
		if err != nil {
			t.Fatal(err)
		}
		until(t, b, spec.Instance, isRead)
		ended := mustRead(t, p, gone)
		wantRead(t, ended, true, 1, 2)
		if err := b.DropUser(t.Context(), spec.Instance, "u3"); err != nil {
			t.Fatal(err)
		}
		wantEnded(t, ended)
		wantShutOut(t, p, gone)
		wantRead(t, r, true, 1, 2)

		standby := until(t, b, spec.Instance, isRead).Nodes[1].Name
		mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGKILL) // of the primary
		until(t, b, spec.Instance, func(s backend.Status) bool { return isProtected(s) && s.Nodes[0].Name == standby })
		if p.engine != "redis" { // which asks clients anew who they are
			wantRead(t, r, false, 1, 2)
		}
		until(t, b, spec.Instance, isRead)
		wantRead(t, mustRead(t, p, reads), true, 1, 2)

		other := until(t, b, spec.Instance, isRead).Nodes[1].Name
		home := string(instance.Home(spec.Instance, instance.Place(strings.TrimPrefix(other, "1"))))
		killIn(c, home)
		until(t, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 2 && s.Nodes[0].Reads })
		wantRead(t, mustRead(t, p, reads), false, 1, 2)
		until(t, b, spec.Instance, isRead)

		spec.Generation, spec.Nodes = spec.Generation+1, 1
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, func(s backend.Status) bool {
			return running(s) && s.Generation == spec.Generation && len(s.Nodes) == 1 && s.Nodes[0].Reads
		})
		wantRead(t, mustRead(t, p, reads), false, 1, 2)
		if err := end(t.Context(), b, spec.Instance); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(c.DataDir, "run", "*")); len(left) > 0 {
			t.Errorf("left of the instance: %v", left)
		}
	})
}

// TestUnbindingReachesAStandbyThatHangs: nobody reads any more from a standby that cannot be told whose sessions are to
// end there, until it was told.
func TestUnbindingReachesAStandbyThatHangs(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, spec, _, gone := readPair(t, p, c, backend.Reading{})
		session := mustRead(t, p, gone)
		wantRead(t, session, true, 1)
		goOn := mustStop(t, c, string(instance.Homes(spec.Instance)[1]))
		began := time.Now()
		if err := b.DropUser(t.Context(), spec.Instance, "u2"); err != nil {
			t.Errorf("drop a user while the standby hangs: %v", err)
		}
		t.Logf("dropped after %v", time.Since(began))
		wantEnded(t, session)
		wantShutOut(t, p, gone)
		goOn()
		until(t, b, spec.Instance, isRead)
		wantShutOut(t, p, gone)
		if err := end(t.Context(), b, spec.Instance); err != nil {
			t.Fatal(err)
		}
	})
}

// TestReadAddressOutlivesTheRecord: a keeper that has lost the record of an instance has it be read from where it was.
func TestReadAddressOutlivesTheRecord(t *testing.T) {
	testkit.InSomeRuns(t)
	for name, forget := range map[string]func(*testing.T, keeper.Config, *backend.Served){
		"told by its directory": func(_ *testing.T, _ keeper.Config, s *backend.Served) { s.Reads = backstay.Endpoint{} },
		"told by the ledger": func(t *testing.T, c keeper.Config, _ *backend.Served) {
			if err := os.RemoveAll(filepath.Join(c.DataDir, "run")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { loseRecordOfRead(t, forget) })
	}
}

func loseRecordOfRead(t *testing.T, forget func(*testing.T, keeper.Config, *backend.Served)) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	p, c := products[0], keepertest.Config(t, 8) // nodes that do not run are given other ports
	b, stop := keepertest.Run(t, c)
	spec := specOf(t, p)
	spec.Nodes = 2
	mustApplySpec(t, b, spec)
	before := until(t, b, spec.Instance, isProtected)
	mustNoteAs(t, p, mustCredentials(t, b, spec.Instance), 1)
	reads, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u2"))
	if err != nil {
		t.Fatal(err)
	}
	served := &backend.Served{Endpoint: before.Endpoint, Reads: until(t, b, spec.Instance, isRead).Reads}
	stop()
	stopEngines(t, c)
	forget(t, c, served)
	if err := os.Remove(recordPath(c, spec.Instance)); err != nil {
		t.Fatal(err)
	}
	b, _ = keepertest.Run(t, c)
	spec.Served = served
	mustApplySpec(t, b, spec)
	until(t, b, spec.Instance, isRead)
	wantRead(t, mustRead(t, p, reads), true, 1)
}

// mustStop stops the processes of the node that lies at a place, until goOn is called.
func mustStop(t *testing.T, c keeper.Config, home string) (goOn func()) {
	t.Helper()
	pids := pidsIn(c, home)
	if len(pids) == 0 {
		t.Fatalf("nothing runs in %s", home)
	}
	for _, pid := range pids {
		mustSignal(t, pid, syscall.SIGSTOP)
	}
	goOn = func() {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGCONT) // it may have been ended
		}
	}
	t.Cleanup(goOn)
	return goOn
}

// readReplica reads all numbers from a replica, as one of whom an instance that was just made knows nothing.
func readReplica(ctx context.Context, b *local.Backend, p product, id backstay.InstanceID, want int) error {
	ctx, cancel := context.WithTimeout(ctx, longestWay)
	defer cancel()
	return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		c, err := b.CreateUser(ctx, id, replicaUser("u2"))
		if err != nil {
			return backstay.KindOf(err) == backstay.Unavailable, err
		}
		w, err := p.open(ctx, c)
		if err != nil {
			return true, err
		}
		defer w.close()
		found, err := w.(noter).noted(ctx)
		if err == nil && len(found) != want {
			err = fmt.Errorf("of %d numbers, a replica has %d", want, len(found))
		}
		return err != nil, err
	})
}

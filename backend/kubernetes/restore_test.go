package kubernetes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

const backupsKey = backstay.Secret("5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a")

// archived is a lab with an object store, and a backend that keeps backups there.
type archived struct {
	lab
	*kubernetes.Backend
	objects    *testkit.Objects
	repository *kubernetes.Repository
	stop       func()
	clock      *clock
}

// clock is one that tests put forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func newArchived(t *testing.T, first, last int) archived {
	t.Helper()
	a := archived{lab: newLab(t), clock: &clock{}}
	c := a.config(t, first, last)
	a.objects, a.repository = a.store(t)
	c.Repository = a.repository
	c.Now = a.clock.now
	t.Cleanup(func() { a.wantNothing(t) })
	a.Backend, a.stop = run(t, c)
	return a
}

func (a archived) spec(t *testing.T) backend.Spec {
	s := backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: "postgres", Version: "15",
		Size:   backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20},
		Backup: &backend.BackupPolicy{Window: "02:30-03:00", Days: 7, Final: 35, Key: backupsKey},
	}
	names, err := a.Names(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = enginetest.Certificate(t, names...)
	return s
}

// served has the Spec be reached.
func (a archived) served(t *testing.T, s backend.Spec) backend.Status {
	t.Helper()
	began := time.Now()
	defer func() { t.Logf("generation %d serves after %s", s.Generation, time.Since(began).Round(time.Second)) }()
	if err := a.Admit(t.Context(), s); err != nil {
		t.Fatalf("Admit: %v", err)
	}
	if err := a.Apply(t.Context(), s); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if s.Generation == 1 {
		t.Cleanup(func() { removed(t, a.Backend, s.Instance) })
	}
	return until(t, a.Backend, s.Instance, "the instance", func(st backend.Status) bool {
		return st.Phase == backend.Running && st.Generation == s.Generation
	})
}

// kept waits for backups that are as wanted.
func (a archived) kept(
	t *testing.T, id backstay.InstanceID, what string, wanted func(backend.Backups) bool,
) (kept backend.Backups) {
	t.Helper()
	began := time.Now()
	defer func() { t.Logf("%s takes %s", what, time.Since(began).Round(time.Second)) }()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(200*time.Millisecond), func() (again bool, err error) {
		kept, err = a.Backups(ctx, id)
		if err == nil && !wanted(kept) {
			err = fmt.Errorf("it is %+v", kept)
		}
		return err != nil, err
	})
	if err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
	return kept
}

func (a archived) backedUp(t *testing.T, id backstay.InstanceID) backend.Backups {
	t.Helper()
	return a.kept(t, id, "a backup", func(k backend.Backups) bool { return len(k.List) > 0 && !k.Latest.IsZero() })
}

// bound opens a session as an app does.
func (a archived) bound(t *testing.T, id backstay.InstanceID, user string) *pgx.Conn {
	t.Helper()
	c, err := a.CreateUser(t.Context(), id, backend.User{Name: user, Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := a.open(t.Context(), c["uri"].(string)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func do(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// withARow has an instance serve that has a table with the number 1 and a backup of it, and returns a session of its
// user u1.
func (a archived) withARow(t *testing.T, s backend.Spec) *pgx.Conn {
	t.Helper()
	a.served(t, s)
	conn := a.bound(t, s.Instance, "u1")
	do(t, conn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	a.backedUp(t, s.Instance)
	return conn
}

// passed is a second that comes behind all that was written, once it has passed.
func passed() time.Time {
	at := time.Now().Add(time.Second).Truncate(time.Second)
	time.Sleep(time.Until(at) + time.Second)
	return at
}

func numbers(t *testing.T, conn *pgx.Conn) (all []int) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT n FROM t ORDER BY n")
	if err == nil {
		all, err = pgx.CollectRows(rows, pgx.RowTo[int])
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// writeOn writes numbers until it is stopped, and returns when each was acknowledged.
func writeOn(t *testing.T, conn *pgx.Conn) (stop func() []time.Time) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan []time.Time)
	go func() {
		var acknowledged []time.Time
		for ctx.Err() == nil {
			_, err := conn.Exec(context.Background(), fmt.Sprintf("INSERT INTO t VALUES (%d)", len(acknowledged)))
			if err != nil {
				t.Errorf("write: %v", err)
				break
			}
			acknowledged = append(acknowledged, time.Now())
			time.Sleep(20 * time.Millisecond)
		}
		ended <- acknowledged
	}()
	return func() []time.Time {
		cancel()
		return <-ended
	}
}

// TestReturn has an instance return to a second in which it was written to: nothing is lost that was before it, and
// nothing is there that came behind. What was there before the return can be had as well.
func TestReturn(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30340, 30349)
	s := a.spec(t)
	a.served(t, s)
	a.backedUp(t, s.Instance)
	conn := a.bound(t, s.Instance, "u1")
	do(t, conn, "CREATE TABLE t (n int)")
	stop := writeOn(t, conn)
	time.Sleep(2 * time.Second)
	at := time.Now().Truncate(time.Second)
	time.Sleep(1500 * time.Millisecond)
	acknowledged := stop()

	s.Generation = 2
	s.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey, At: at, Return: 1}
	began := time.Now()
	st := a.served(t, s)
	t.Logf("the return takes %s", time.Since(began).Round(time.Second))
	if st.Restored != (backend.Restored{Generation: 2}) {
		t.Errorf("restored as %+v", st.Restored)
	}
	if _, err := a.open(t.Context(), conn.Config().ConnString()); err == nil {
		t.Error("a user of then is let in")
	}
	again := a.bound(t, s.Instance, "u2")
	wantUntil(t, numbers(t, again), acknowledged, at)
	do(t, again, "INSERT INTO t VALUES (-1)")

	s.Generation = 3
	s.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey, At: acknowledged[len(acknowledged)-1], Return: 2}
	s.Origin.At = s.Origin.At.Add(-time.Second).Truncate(time.Second)
	began = time.Now()
	a.served(t, s)
	wantUntil(t, numbers(t, a.bound(t, s.Instance, "u3")), acknowledged, s.Origin.At)

	// A backup that was being taken between both has gone with what it was of, and stands in nobody's way.
	served := time.Now()
	a.kept(t, s.Instance, "a backup of what is there now", func(k backend.Backups) bool {
		return len(k.List) > 0 && k.List[len(k.List)-1].Ended.After(began)
	})
	if took := time.Since(served); took > 5*time.Minute {
		t.Errorf("a backup behind the return has taken %s", took)
	}
}

// TestReturnIsGivenUpLate: the data of then is there already, and serves nobody yet, when an instance is to be as it was.
// All is there again that was written until the return, with the users of then, but for who was dropped
// meanwhile.
func TestReturnIsGivenUpLate(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30430, 30439)
	s := a.spec(t)
	s.Nodes = 2
	conn := a.withARow(t, s)
	a.bound(t, s.Instance, "u2")
	at := passed()
	do(t, conn, "INSERT INTO t VALUES (2)")

	wanted := s
	wanted.Generation = 2
	wanted.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey, At: at, Return: 1}
	if err := a.Apply(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	until(t, a.Backend, s.Instance, "the instance without its data", func(st backend.Status) bool {
		return st.Phase != backend.Running
	})
	dropped := make(chan error)
	go func() { dropped <- a.DropUser(t.Context(), s.Instance, "u2") }()
	await(t, "the data of then", func(ctx context.Context) (bool, error) {
		brought, err := a.Brought(ctx, s.Instance)
		return brought == 2, err
	})
	s.Generation = 3
	a.served(t, s)
	if err := <-dropped; err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, a.again(t, conn.Config().ConnString())); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("behind a return that was given up, %v is there", got)
	}
	var there int
	admin := a.bound(t, s.Instance, "u3")
	err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = 'u2'").Scan(&there)
	if err != nil || there != 0 {
		t.Errorf("who was dropped meanwhile is there again: %v", err)
	}
	s.Generation = 4
	s.Origin = wanted.Origin
	a.served(t, s)
	if got := numbers(t, a.bound(t, s.Instance, "u4")); !slices.Equal(got, []int{1}) {
		t.Errorf("behind a return that was asked for again, %v is there", got)
	}
}

// wantUntil wants all that was acknowledged before a moment, and nothing that was begun behind it. The clocks are one.
func wantUntil(t *testing.T, got []int, acknowledged []time.Time, at time.Time) {
	t.Helper()
	must := 0
	for must < len(acknowledged) && !acknowledged[must].After(at) {
		must++
	}
	if len(got) < must || len(got) > must+1 || must == 0 || must == len(acknowledged) {
		t.Errorf("%d rows are there, want %d of %d", len(got), must, len(acknowledged))
	}
	for i, n := range got {
		if n != i {
			t.Errorf("row %d is %d", i, n)
		}
	}
}

// TestCopies has instances begin from a moment of another one, and from it as it is, also where it has no backups.
func TestCopies(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30350, 30359)
	s := a.spec(t)
	a.served(t, s)
	conn := a.bound(t, s.Instance, "u1")
	do(t, conn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	a.backedUp(t, s.Instance)
	var group sync.WaitGroup
	from := func(name string, o backend.Origin, nodes int, backedUp bool, want ...int) {
		group.Go(func() {
			its := a.spec(t)
			if !backedUp {
				its.Backup = nil
			}
			its.Origin, its.Nodes = &o, nodes
			a.served(t, its)
			c := a.bound(t, its.Instance, "u2")
			if got := numbers(t, c); !slices.Equal(got, want) {
				t.Errorf("%s has %v, want %v", name, got, want)
			}
			var users int
			err := c.QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = 'u1'").Scan(&users)
			if err != nil || users != 0 {
				t.Errorf("%s has the user of its source: %v", name, err)
			}
			do(t, c, "INSERT INTO t VALUES (100)")
		})
	}
	do(t, conn, "INSERT INTO t VALUES (2)")
	from("the clone", backend.Origin{Instance: s.Instance, Key: backupsKey, Clone: true}, 1, false, 1, 2)
	from("the end", backend.Origin{Instance: s.Instance, Key: backupsKey}, 2, true, 1, 2)
	group.Wait()
	if got := numbers(t, conn); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the source has %v", got)
	}
	for what, o := range map[string]backend.Origin{
		"another key":  {Instance: s.Instance, Key: backstay.Secret(strings.Repeat("6b", 32))},
		"no instance":  {Instance: "none", Key: backupsKey},
		"no such time": {Instance: s.Instance, Key: backupsKey, At: time.Now().Add(-time.Hour)},
	} {
		its := a.spec(t)
		its.Origin = &o
		for method, err := range map[string]error{
			"Admit": a.Admit(t.Context(), its), "Apply": a.Apply(t.Context(), its),
		} {
			if backstay.KindOf(err) != backstay.Invalid {
				t.Errorf("%s with %s: %v", method, what, err)
			}
		}
	}
}

// TestDeleted has an instance begin from one that was deleted, whose backups then expire.
func TestDeleted(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30360, 30369)
	s := a.spec(t)
	a.served(t, s)
	a.backedUp(t, s.Instance)
	do(t, a.bound(t, s.Instance, "u1"), "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	time.Sleep(time.Second)
	at := time.Now().Truncate(time.Second)
	do(t, a.bound(t, s.Instance, "u1"), "INSERT INTO t VALUES (2)")
	removed(t, a.Backend, s.Instance)
	left := a.kept(t, s.Instance, "its end", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if len(left.List) != 2 || !left.List[1].Final || left.Latest.Before(at) {
		t.Errorf("of what was removed is kept %+v", left)
	}
	its := a.spec(t)
	its.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey, At: at}
	a.served(t, its)
	if got := numbers(t, a.bound(t, its.Instance, "u2")); !slices.Equal(got, []int{1}) {
		t.Errorf("it has %v, want what was there before the end", got)
	}
	a.clock.forward(36 * 24 * time.Hour)
	if err := a.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Backups(t.Context(), s.Instance); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("what has expired: %v", err)
	}
	if files, err := os.ReadDir(filepath.Join(a.objects.Dir, string(s.Instance))); err == nil && len(files) > 0 {
		t.Errorf("%d objects of what has expired are left", len(files))
	}
}

// wantNothingSaid asks as an operator's command does: it does not say that an object store is empty which is away.
func (a archived) wantNothingSaid(t *testing.T, id backstay.InstanceID) {
	t.Helper()
	c := a.config(t, 30370, 30379)
	c.Repository = a.repository
	beside := kubernetes.New(c)
	if err := beside.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := beside.Backups(t.Context(), id)
	if backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("Backups: %+v, %v", kept, err)
	}
	if _, err := beside.Prove(t.Context(), id); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("Prove: %v", err)
	}
	if all, err := beside.AllBackups(t.Context()); backstay.KindOf(err) != backstay.Unavailable || len(all) > 0 {
		t.Errorf("AllBackups: %+v, %v", all, err)
	}
}

// TestStoreAway has the object store go away for a while: that is told, nothing is lost, and it goes on by itself.
// Then old backups go.
func TestStoreAway(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30370, 30379)
	s := a.spec(t)
	a.served(t, s)
	first := a.backedUp(t, s.Instance)
	conn := a.bound(t, s.Instance, "u1")
	do(t, conn, "CREATE TABLE t (n int)")
	a.objects.Pause()
	defer a.objects.Resume()
	do(t, conn, "INSERT INTO t VALUES (1)")
	troubled := a.kept(t, s.Instance, "the trouble", func(k backend.Backups) bool { return k.Has("archive") })
	if !strings.HasPrefix(troubled.Trouble(), "The archive is behind: ") {
		t.Errorf("users read %q", troubled.Trouble())
	}
	a.wantNothingSaid(t, s.Instance)
	do(t, conn, "INSERT INTO t VALUES (2)")
	written := time.Now()
	a.objects.Resume()
	a.kept(t, s.Instance, "the end of the trouble", func(k backend.Backups) bool {
		return len(k.Troubles) == 0 && k.Latest.After(written) && len(k.Gaps) == 0
	})
	a.clock.forward(9 * 24 * time.Hour) // a backup is due, and behind it the first one is not needed
	s.Generation, s.Backups = 2, 1
	s.Backup = &backend.BackupPolicy{Window: "02:30-03:00", Days: 1, Key: backupsKey}
	a.served(t, s)
	a.kept(t, s.Instance, "the end of the first backup", func(k backend.Backups) bool {
		return len(k.List) > 0 && k.List[0].ID != first.List[0].ID
	})
}

// TestStoreGoesAwayFromARestore that is under way: users read why it takes so long, and it comes through afterwards.
func TestStoreGoesAwayFromARestore(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30440, 30449)
	s := a.spec(t)
	a.withARow(t, s)
	its := a.spec(t)
	its.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey}
	if err := a.Apply(t.Context(), its); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removed(t, a.Backend, its.Instance) })
	a.awaitObject(t, clusters, "bs-"+string(its.Instance), "its Cluster",
		func(*unstructured.Unstructured) bool { return true })
	a.objects.Pause()
	defer a.objects.Resume()
	until(t, a.Backend, its.Instance, "the reason", func(st backend.Status) bool {
		return strings.HasPrefix(st.Obstacle.Sentence, "The data cannot be restored now: ")
	})
	a.objects.Resume()
	until(t, a.Backend, its.Instance, "the copy", func(st backend.Status) bool { return st.Phase == backend.Running })
	if got := numbers(t, a.bound(t, its.Instance, "u2")); !slices.Equal(got, []int{1}) {
		t.Errorf("%v is there", got)
	}
}

package state

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

func anySecrets(bool) error { return nil }

func mustOpenToServe(t *testing.T, dsn string) *Store {
	t.Helper()
	s, err := OpenToServe(t.Context(), dsn, anySecrets, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOneProcessServesADatabase(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	first := mustOpenToServe(t, dsn)
	closeFirst := sync.OnceFunc(first.Close)
	defer closeFirst()
	_, err := OpenToServe(t.Context(), dsn, anySecrets, slog.New(slog.DiscardHandler))
	holder := fmt.Sprintf("backstay serve, process %d on ", os.Getpid())
	if backstay.KindOf(err) != backstay.InUse || !strings.Contains(backstay.SentenceOf(err), holder) {
		t.Errorf("a second one: %v", err)
	}
	beside, err := OpenBeside(t.Context(), dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("an operator's command: %v", err)
	}
	beside.Close()
	closeFirst()
	mustOpenToServe(t, dsn).Close()
}

// TestADatabaseThatDoesNotAnswer: whoever serves waits for it, but not for one that refuses.
func TestADatabaseThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*url.URL){
		"away":     func(u *url.URL) { u.Host = "127.0.0.1:1" },
		"refusing": func(u *url.URL) { u.Path = "/absent" },
	} {
		address, err := url.Parse(testkit.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		change(address)
		dsn := address.String()
		_, err = OpenToServe(t.Context(), dsn, anySecrets, slog.New(slog.DiscardHandler))
		_, _, peeked := PeekSecret(t.Context(), dsn, "any")
		for _, err := range []error{err, peeked} {
			if away := backstay.KindOf(err) == backstay.Unavailable; err == nil || away != (name == "away") {
				t.Errorf("one that is %s: %v", name, err)
			}
		}
	}
}

// jobRuns runs a store's jobs. Each run of a market job arrives at begun, and lasts until its job is
// cancelled or finish is closed.
type jobRuns struct {
	begun  chan backstay.JobID
	finish chan struct{}
	ended  chan error
}

func startJobs(t *testing.T, s *Store) *jobRuns {
	t.Helper()
	runs := &jobRuns{begun: make(chan backstay.JobID, 100), finish: make(chan struct{}), ended: make(chan error, 1)}
	market := func(ctx context.Context, id backstay.JobID, _ bool) error {
		runs.begun <- id
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-runs.finish:
			return nil
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		runs.ended <- s.RunJobs(ctx, Runners{Market: market})
		close(runs.ended)
	}()
	t.Cleanup(func() {
		stop()
		<-runs.ended
		s.Close()
	})
	return runs
}

func (r *jobRuns) want(t *testing.T, id backstay.JobID) {
	t.Helper()
	select {
	case got := <-r.begun:
		if got != id {
			t.Fatalf("job %s begins, want %s", got, id)
		}
	case err := <-r.ended:
		t.Fatalf("the jobs have ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatalf("job %s does not begin", id)
	}
}

func (s *Store) mustInsertJob(t *testing.T, id backstay.JobID) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	err := wait.Until(t.Context(), wait.Every(10*time.Millisecond), func() (again bool, err error) {
		err = s.tx(t.Context(), func(tx pgx.Tx) error { return s.insertMarketJob(t.Context(), tx, backstay.Job{ID: id}) })
		return err != nil && time.Now().Before(deadline), err // a connection may be found broken as it is used
	})
	if err != nil {
		t.Fatal(err)
	}
}

// endConnections ends connections to the database, as its restart does: all but ours, or the claim's alone.
const (
	endConnections = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`
	endClaim = `SELECT pg_terminate_backend(pid) FROM pg_locks
		WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database
			WHERE datname = current_database())`
)

func mustConnect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestJobsGoOnWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	s := mustOpenToServe(t, dsn)
	runs := startJobs(t, s)
	s.mustInsertJob(t, "a")
	runs.want(t, "a")
	if _, err := mustConnect(t, dsn).Exec(t.Context(), endConnections); err != nil {
		t.Fatal(err)
	}
	runs.want(t, "a")
	close(runs.finish)

	s.mustInsertJob(t, "b")
	runs.want(t, "b")
}

// TestJobsWaitForADatabaseThatIsAway keeps everybody out for longer than the queue has patience.
func TestJobsWaitForADatabaseThatIsAway(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as long as the patience of the queue")
	}
	t.Parallel()
	dsn := testkit.Postgres(t)
	s := mustOpenToServe(t, dsn)
	runs := startJobs(t, s)
	s.mustInsertJob(t, "a")
	runs.want(t, "a")
	name := s.pool.Config().ConnConfig.Database
	operator := mustConnect(t, strings.Replace(dsn, "/"+name, "/postgres", 1))
	for _, statement := range []string{
		"ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'",
		"SELECT pg_sleep(15)",
		"ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS true",
	} {
		if _, err := operator.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	back := time.Now()
	runs.want(t, "a")
	if late := time.Since(back); late > 5*time.Second {
		t.Errorf("jobs go on %v after the database has come back", late)
	}
}

// A database that has crashed may have lost the note of how a job ended, which does not wait for the disk.
func TestAJobWhoseEndWasLostRunsAgain(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	s := mustOpenToServe(t, dsn)
	runs := startJobs(t, s)
	close(runs.finish)
	s.mustInsertJob(t, "a")
	runs.want(t, "a")
	err := wait.Until(t.Context(), wait.Every(5*time.Millisecond), func() (bool, error) {
		tag, err := s.pool.Exec(t.Context(),
			`UPDATE river.river_job SET state = 'running', finalized_at = NULL WHERE state = 'completed'`)
		return err == nil && tag.RowsAffected() == 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mustConnect(t, dsn).Exec(t.Context(), endClaim); err != nil {
		t.Fatal(err)
	}
	runs.want(t, "a")
}

func TestJobsEndWhenAnotherProcessHasTheDatabase(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	s := mustOpenToServe(t, dsn)
	runs := startJobs(t, s)
	s.mustInsertJob(t, "a")
	runs.want(t, "a")

	other := mustConnect(t, dsn)
	has := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, int64(claimLock))
		has <- err
	}()
	err := wait.Until(t.Context(), wait.Every(5*time.Millisecond), func() (again bool, err error) {
		err = s.pool.QueryRow(t.Context(), `SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)`,
			other.PgConn().PID()).Scan(&again)
		return again, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mustConnect(t, dsn).Exec(t.Context(), endClaim); err != nil {
		t.Fatal(err)
	}
	if err := <-has; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-runs.ended:
		if backstay.KindOf(err) != backstay.InUse {
			t.Errorf("the jobs end with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the jobs go on, though another process has the database")
	}
}

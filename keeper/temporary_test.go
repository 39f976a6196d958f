package keeper_test

import (
	"context"
	"errors"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestTemporaryDataGoesFirst has a session fill a volume with temporary data, in each way that there is. It gets an
// error, and all others go on, in the same server, in which users come and go meanwhile. Where only a restart gives the
// room back, there is one.
func TestTemporaryDataGoesFirst(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("it fills a volume, again and again")
	}
	c := keepertest.WithImages(t, 1)
	c.Engines["mysql"] = testedMySQL
	b, _ := keepertest.Run(t, c)
	p := products[1]
	spec := specOf(t, p)
	spec.Size = backstay.Size{Storage: 600 * backstay.MB, Memory: backstay.GB, Connections: 20}
	mustReach(t, b, spec)
	credentials := mustCredentials(t, b, spec.Instance)
	other := mustHog(t, p, credentials)
	if err := other.write(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustMake(t, other, "CREATE TABLE wide (n int PRIMARY KEY, p varchar(900))",
		"INSERT INTO wide SELECT seq, RPAD(seq, 900, 'x') FROM seq_1_to_60000")
	const fill = "INSERT INTO passing SELECT seq, RPAD(seq, 900, 'x') FROM seq_1_to_3000000"
	for _, way := range []struct {
		name      string
		restarts  bool
		statement []string
	}{
		{"tables of a query", false, []string{
			"SELECT COUNT(*) FROM (SELECT DISTINCT seq, REPEAT('y', 500) FROM seq_1_to_30000000) AS x"}},
		{"a sort", false, []string{"SET max_length_for_sort_data = 4000000", "SET sort_buffer_size = 1000000",
			"SELECT MAX(r) FROM (SELECT ROW_NUMBER() OVER (ORDER BY MD5(CONCAT(n, seq))) AS r, p " +
				"FROM wide, seq_1_to_100) AS x"}},
		{"a table of a session", false, []string{
			"CREATE TEMPORARY TABLE passing (n int, p varchar(900)) ENGINE = Aria", fill}},
		{"InnoDB's", true, []string{"CREATE TEMPORARY TABLE passing (n int, p varchar(900))", fill}},
	} {
		t.Run(way.name, func(t *testing.T) {
			pid := mustPID(t, b, spec.Instance)
			greedy := mustHog(t, p, credentials).(mysqlWriter)
			failed := make(chan error, 1)
			go func() { failed <- runAll(t.Context(), greedy, way.statement) }()
			err := comeAndGo(t, b, spec.Instance, failed, way.restarts)
			t.Logf("it is told: %v", err)
			var refusal *driver.MySQLError
			if err == nil || !way.restarts && !errors.As(err, &refusal) {
				t.Errorf("who fills the volume is told %v", err)
			}
			if !way.restarts {
				if err := other.write(t.Context(), 1); err != nil {
					t.Errorf("another session: %v", err)
				}
			}
			until(t, b, spec.Instance, allows)
			if again := mustPID(t, b, spec.Instance); again != pid != way.restarts {
				t.Errorf("process %d is %d by now", pid, again)
			}
			mustWriteAgain(t, p, credentials)
			if err := b.DropUser(t.Context(), spec.Instance, "u2"); err != nil {
				t.Errorf("unbind: %v", err)
			}
		})
	}
}

func runAll(ctx context.Context, w mysqlWriter, statements []string) (err error) {
	for _, s := range statements {
		if _, err = w.ExecContext(ctx, s); err != nil {
			break
		}
	}
	return err
}

// comeAndGo makes and drops users until something has failed. An instance that is started anew may tell them so.
func comeAndGo(
	t *testing.T, b *local.Backend, id backstay.InstanceID, failed <-chan error, restarts bool,
) error {
	t.Helper()
	for {
		_, err := b.CreateUser(t.Context(), id, backend.User{Name: "u2", Password: "correcthorsebatterystaple"})
		if err == nil {
			err = b.DropUser(t.Context(), id, "u2")
		}
		if err != nil && !(restarts && backstay.KindOf(err) == backstay.Unavailable) {
			t.Errorf("a user comes and goes: %v", err)
		}
		select {
		case err := <-failed:
			return err
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			return t.Context().Err()
		}
	}
}

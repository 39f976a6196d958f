package pgserver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/engine/postgres"
)

// TestTimesInTheLog are those that PostgreSQL's own program reads in it, for segments that are full, begin or end within
// a record, or were finished before they were full. What is cut off within one has none that are not there.
func TestTimesInTheLog(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, postgres.Engine{})
	enginetest.Serve(t, postgres.Engine{}, n)
	told := 0
	for name, text := range writtenLog(t, n) {
		first, last := pgserver.EndTimes(text)
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		wantFirst, wantLast := dumped(t, filepath.Join(n.Installation.Dir, "pg_waldump"), path)
		if !first.Equal(wantFirst) || !last.Equal(wantLast) {
			t.Errorf("%s: from %v until %v, want from %v until %v", name, first, last, wantFirst, wantLast)
		}
		if !first.IsZero() {
			told++
		}
		for _, end := range []int{0, 1, 20, 8192, len(text) / 3} {
			if cut, _ := pgserver.EndTimes(text[:end]); !cut.IsZero() && cut.Before(first) {
				t.Errorf("%s: the first %d bytes begin at %v, and the whole at %v", name, end, cut, first)
			}
		}
	}
	if told < 3 {
		t.Errorf("only %d segments tell of times", told)
	}
}

// writtenLog has a server write some segments of its log, and returns them by their names.
func writtenLog(t *testing.T, n engine.Node) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := pgserver.WithAdmin(t.Context(), n, "main", func(conn *pgx.Conn) error {
		do := func(statements ...string) error {
			for _, statement := range statements {
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					return err
				}
			}
			return nil
		}
		if err := do("CREATE SCHEMA s", "SET search_path = s", "CREATE TABLE t (n int, text text)"); err != nil {
			return err
		}
		for range 5 { // some seven megabytes each
			err := do("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 6000) n",
				"BEGIN", "SAVEPOINT s", "INSERT INTO t VALUES (1)", "ROLLBACK TO s", "INSERT INTO t VALUES (2)", "COMMIT",
				"BEGIN", "INSERT INTO t VALUES (3)", "ROLLBACK", "DROP TABLE IF EXISTS u", "CREATE TABLE u (n int PRIMARY KEY)")
			if err != nil {
				return err
			}
			var newest string
			if err := conn.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_switch_wal())").Scan(&newest); err != nil {
				return err
			}
			paths, err := pgserver.Logs(n.DataDir)
			if err != nil {
				return err
			}
			for _, path := range paths {
				if name := filepath.Base(path); name <= newest { // the others are old ones, about to be used again
					if all[name], err = os.ReadFile(path); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var ended = regexp.MustCompile(`desc: (?:COMMIT|ABORT) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC`)

// dumped are the earliest and the latest end of a transaction that begins and ends within a segment.
func dumped(t *testing.T, program, path string) (first, last time.Time) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "--rmgr=Transaction", path)
	cmd.Env = []string{"TZ=UTC", "LC_ALL=C"}
	out, _ := cmd.Output() // at the end of what was written it fails
	for _, match := range ended.FindAllStringSubmatch(string(out), -1) {
		at, err := time.Parse("2006-01-02 15:04:05.999999", match[1])
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return first, last
}

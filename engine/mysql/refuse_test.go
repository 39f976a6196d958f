package mysql_test

import (
	"context"
	"errors"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/wait"
)

// readOnlyTransaction is the server's number for what it refuses on a full node.
const readOnlyTransaction = 1792

// readOnlyServer is that for what a node refuses that follows.
const readOnlyServer = 1290

func isNumber(err error, number uint16) bool {
	var refusal *driver.MySQLError
	return errors.As(err, &refusal) && refusal.Number == number
}

// deleteAll gives room back to the disk, as MakingRoom tells.
func deleteAll(ctx context.Context, s enginetest.Session) error {
	for _, statement := range []string{"SET SESSION TRANSACTION READ WRITE", "DELETE FROM `keys`", "OPTIMIZE TABLE `keys`",
		"TRUNCATE `keys`", "CREATE TABLE other (n int)", "DROP TABLE other"} {
		if _, err := s.(session).conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func writeInBulk(ctx context.Context, s enginetest.Session) error {
	_, err := s.(session).conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS bulk (n int)")
	if err == nil {
		_, err = s.(session).conn.ExecContext(ctx, "INSERT INTO bulk SELECT SLEEP(0.01) FROM "+many)
	}
	return err
}

// many are so many rows that they take all day.
const many = `(WITH RECURSIVE few AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM few WHERE n < 900)
	SELECT few.n FROM few, few AS more) AS many`

// TestWritersAreInterrupted where there is hardly any room left, though they had asked for writing, and in whatever way
// they write. Who reads goes on.
func TestWritersAreInterrupted(t *testing.T) {
	t.Parallel()
	s := serve(t)
	b := s.bind(t)
	b.connect(t).do(t, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	refuse := func(w engine.Writes) {
		t.Helper()
		if err := tested.RefuseWrites(t.Context(), s.Node, w); err != nil {
			t.Fatal(err)
		}
	}
	refuse(engine.FewWrites)
	for name, statement := range map[string]string{
		"inserts": "INSERT INTO t SELECT SLEEP(0.01) FROM " + many,
		"a table": "CREATE TABLE other AS SELECT SLEEP(0.01) FROM " + many,
		"updates": "UPDATE t SET n = SLEEP(20)",
	} {
		t.Run(name, func(t *testing.T) {
			reader, writer := b.connect(t), b.connect(t)
			writer.do(t, "SET SESSION TRANSACTION READ WRITE", "SELECT 'begins'")
			read, written := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := reader.ExecContext(t.Context(), "SELECT SLEEP(1) FROM t LIMIT 1")
				read <- err
			}()
			go func() {
				_, err := writer.ExecContext(t.Context(), statement)
				written <- err
			}()
			s.admin(t).await(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = ?", statement)
			refuse(engine.FewWrites)
			select {
			case err := <-written:
				t.Errorf("it has ended while there is some room: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			refuse(engine.NoWrites)
			if err := <-written; err == nil {
				t.Error("it goes on")
			}
			if err := <-read; err != nil {
				t.Errorf("who reads is interrupted: %v", err)
			}
		})
	}
}

// await waits until a query counts something.
func (c client) await(t *testing.T, query string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		var count int
		err = c.QueryRowContext(ctx, query, args...).Scan(&count)
		return count == 0, err
	})
	if err := errors.Join(err, ctx.Err()); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

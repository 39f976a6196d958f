package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
)

// deleteAll gives room back to the disk, as MakingRoom tells.
func deleteAll(ctx context.Context, s enginetest.Session) error {
	for _, statement := range []string{`SET default_transaction_read_only = off`, `DELETE FROM keys`, `VACUUM FULL keys`,
		`TRUNCATE keys`} {
		if _, err := s.(session).Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func writeInBulk(ctx context.Context, s enginetest.Session) error {
	_, err := s.(session).Exec(ctx,
		`INSERT INTO keys SELECT 'bulk' || i, pg_sleep(0.01)::text FROM generate_series(1, 100000) i`)
	return err
}

// refuse has the server refuse what clients write.
func (s server) refuse(t *testing.T, w engine.Writes) {
	t.Helper()
	if err := (postgres.Engine{}).RefuseWrites(t.Context(), s.Node, w); err != nil {
		t.Fatal(err)
	}
}

// await waits until a condition is true.
func (c client) await(t *testing.T, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		err = c.QueryRow(ctx, "SELECT NOT ("+condition+")").Scan(&again)
		return again, err
	})
	if err := errors.Join(err, ctx.Err()); err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
}

// inserts writes for many minutes.
const inserts = `INSERT INTO t SELECT length(pg_sleep(0.01)::text) FROM generate_series(1, 100000)`

// TestRefusedStatements has statements run on a full node: which of them go on depends on how much room there is.
func TestRefusedStatements(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 64 * backstay.MB, Connections: 20})
	b, admin := s.bind(t), s.admin(t)
	before := b.connect(t)
	before.do(t, `CREATE TABLE t (n int)`, `BEGIN`)
	s.refuse(t, engine.FewWrites)
	// What begins within a second is taken for what was there before.
	s.admin(t).await(t, `clock_timestamp() > pg_conf_load_time() + interval '1 s'`)
	for _, tc := range []struct {
		name      string
		client    client
		statement string
		until     engine.Writes // that are allowed
	}{
		{"a transaction that was there before", before, inserts, engine.FewWrites},
		{"a query with large temporary files", b.connect(t), `SET work_mem = '64kB';
			SELECT i FROM generate_series(1, 100000000) i ORDER BY md5(i::text)`, engine.FewWrites},
		{"one that has asked for writing", b.connect(t), `BEGIN READ WRITE; ` + inserts, engine.NoWrites},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ended := make(chan error, 1)
			go func() {
				_, err := tc.client.Exec(t.Context(), tc.statement)
				ended <- err
			}()
			if tc.until == engine.NoWrites {
				admin.await(t, `EXISTS (SELECT FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND state = 'active')`)
				s.refuse(t, engine.FewWrites)
				admin.await(t, `EXISTS (SELECT FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND state = 'active')`)
			}
			for {
				s.refuse(t, tc.until)
				select {
				case err := <-ended:
					if err == nil {
						t.Error("it goes on to its end")
					}
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
}

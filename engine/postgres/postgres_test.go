package postgres_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

func TestContract(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Subject{
		Engine: postgres.Engine{}, Connect: connect, Versions: twoVersions,
		ResizeRestarts: true, // shared memory
		Worst:          enginetest.Worst{Make: makeWorst, Hold: holdWorst, Connections: 3*len(holds) + 10},
		Spin:           spin,
		Refusing:       enginetest.Refusing{Delete: deleteAll, Bulk: writeInBulk},
		BadSettings: []string{`{"enable_extensions": ["dblink"]}`, `{"enable_extensions": "postgis"}`,
			`{"extensions": ["dblink"]}`, `{"extensions": ["hstore"], "enable_extensions": ["postgis"]}`},
	})
}

// twoVersions is the machine's own PostgreSQL beside a newer one.
func twoVersions(t testing.TB) engine.Engine {
	newer := filepath.Join(testkit.Other(t, "postgres-17"), "usr/lib/postgresql")
	return postgres.Engine{Roots: []string{"/usr/lib/postgresql", newer}}
}

// session keeps the suite's keys in a table that all bindings share.
type session struct{ *pgx.Conn }

func connect(ctx context.Context, c backstay.Credentials) (enginetest.Session, error) {
	conn, err := dial(ctx, c)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `SELECT pg_advisory_lock(1)`) // IF NOT EXISTS does not keep two from trying
	if err == nil {
		_, err = conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS keys (key text PRIMARY KEY, value text)`)
		if stateOf(err) == denied || stateOf(err) == readOnly { // whoever may only read finds it, or nothing
			err = nil
		}
	}
	if err == nil {
		_, err = conn.Exec(ctx, `SELECT pg_advisory_unlock(1)`)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return session{conn}, nil
}

func (s session) Set(ctx context.Context, key, value string) error {
	_, err := s.Exec(ctx,
		`INSERT INTO keys VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
	return err
}

func (s session) Get(ctx context.Context, key string) (value string, err error) {
	err = s.QueryRow(ctx, `SELECT value FROM keys WHERE key = $1`, key).Scan(&value)
	return value, err
}

// spin computes, and commits now and then.
func spin(ctx context.Context, s enginetest.Session) error {
	_, err := s.(session).Exec(ctx, `DO $$
DECLARE
    n int := 0;
BEGIN
    FOR i IN 1..2000000000 LOOP
        n := n + i % 3;
        IF i % 100000 = 0 THEN
            INSERT INTO keys VALUES ('spun', i::text) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
            COMMIT;
        END IF;
    END LOOP;
END
$$`)
	return err
}

func (s session) Close() error { return s.Conn.Close(context.Background()) }

package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
)

// migrations are what apps run when they start, whether it has been run before or not.
var migrations = []string{
	`CREATE EXTENSION IF NOT EXISTS "uuid-ossp"`,
	`CREATE TABLE IF NOT EXISTS users (id uuid DEFAULT uuid_generate_v4(), name text)`,
	`CREATE SCHEMA IF NOT EXISTS apart`, `CREATE TABLE IF NOT EXISTS apart.t (n int)`,
	`CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$`,
	`CREATE OR REPLACE FUNCTION round(double precision, int) RETURNS numeric LANGUAGE sql AS 'SELECT 1::numeric'`,
	`CREATE OR REPLACE FUNCTION secret() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`,
	`CREATE OR REPLACE PROCEDURE work() LANGUAGE sql AS 'SELECT 1'`, `ALTER FUNCTION touch() STABLE`,
	`ALTER TABLE users ADD COLUMN IF NOT EXISTS age int`, `CREATE INDEX IF NOT EXISTS users_name ON users (name)`,
	`CREATE OR REPLACE VIEW names AS SELECT name FROM users`, `COMMENT ON TABLE users IS 'x'`,
	`CREATE OR REPLACE TRIGGER touched BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch()`,
	`GRANT SELECT ON users TO PUBLIC`, `GRANT ALL ON SCHEMA apart TO PUBLIC`,
	`ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`,
	`DO $$ BEGIN CREATE TYPE mood AS ENUM ('good'); EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$`,
	`INSERT INTO users DEFAULT VALUES`,
}

// others are what there is besides, of a database that has been migrated.
var others = []string{
	`CREATE TABLE brand_new (n int)`, `CREATE SCHEMA brand_new`,
	`CREATE FUNCTION brand_new() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
	`CREATE FUNCTION upper(int) RETURNS text LANGUAGE sql AS 'SELECT ''X'''`,
	`CREATE TYPE brand_new AS RANGE (SUBTYPE = int)`,
	`CREATE OPERATOR <> (LEFTARG = text, RIGHTARG = int, FUNCTION = differs)`,
	`CREATE AGGREGATE brand_new(int) (SFUNC = int4pl, STYPE = int)`,
	`ALTER FUNCTION differs(text, int) RENAME TO lower`, `DROP FUNCTION touch() CASCADE`,
	`DROP TABLE users CASCADE`, `DROP SCHEMA apart CASCADE`, `DROP EXTENSION "uuid-ossp" CASCADE`,
	`REVOKE ALL ON SCHEMA apart FROM PUBLIC`, `SELECT count(*) FROM users`,
}

// collisions are what PostgreSQL has for those who do not migrate one after the other.
var collisions = []string{"23505", "XX000", "42P07", "42710", "42723", "40P01"}

// dialer opens sessions of one app.
type dialer func(context.Context) (*pgx.Conn, error)

// walledAndPlain are a database of ours, and one of a PostgreSQL without our walls.
func walledAndPlain(t *testing.T) map[string]dialer {
	t.Helper()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20})
	b, elsewhere := s.bind(t), testkit.Postgres(t)
	return map[string]dialer{
		"walled": func(ctx context.Context) (*pgx.Conn, error) { return dial(ctx, b.credentials) },
		"plain":  func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, elsewhere) },
	}
}

// TestMigrationsAtOnce: six instances of an app that start at once.
func TestMigrationsAtOnce(t *testing.T) {
	t.Parallel()
	for name, open := range walledAndPlain(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for round := range 4 {
				for what, state := range migrateAtOnce(t, open, round > 0) {
					switch {
					case round > 0: // as a migration tool does, one after the other
						t.Errorf("round %d, with a lock: %s: %s", round, what, state)
					case !slices.Contains(collisions, state):
						t.Errorf("without a lock: %s: %s", what, state)
					}
				}
			}
			for range 4 {
				for what, state := range migrateAtOnce(t, open, false) {
					if strings.Contains(what, "IF NOT EXISTS") || state != "XX000" && state != "40P01" {
						t.Errorf("again, without a lock: %s: %s", what, state)
					}
				}
			}
		})
	}
}

// migrateAtOnce returns the statements that failed, with their states.
func migrateAtOnce(t *testing.T, open dialer, lock bool) map[string]string {
	t.Helper()
	failed := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 6 {
		conn, err := open(t.Context())
		c := opened(t, conn, err)
		all.Go(func() {
			defer c.Close(context.Background())
			if lock {
				c.Exec(t.Context(), `SELECT pg_advisory_lock(72)`)
				c.Exec(t.Context(), `BEGIN`)
				defer c.Exec(t.Context(), `COMMIT`)
			}
			for _, sql := range migrations {
				if _, err := c.Exec(t.Context(), sql); err != nil {
					mu.Lock()
					failed[sql] = stateOf(err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

// TestConcurrencyIsPostgres: whatever one session has done and not yet committed, what another one does then succeeds,
// waits or fails as it does in a PostgreSQL without our walls.
func TestConcurrencyIsPostgres(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	pairs := map[string]*pair{}
	for name, open := range walledAndPlain(t) {
		pairs[name] = newPair(t, open)
	}
	statements := slices.Concat(migrations, others)
	isolations := []string{"READ COMMITTED", "REPEATABLE READ"}
	if testing.Short() {
		isolations = isolations[:1]
	}
	for _, isolation := range isolations {
		for _, first := range statements {
			for _, second := range statements {
				states := map[string]string{}
				differ := true
				for tries := 0; differ && tries < 3; tries++ { // autovacuum may be in the way
					for name, p := range pairs {
						states[name] = p.run(t, isolation, first, second)
					}
					differ = states["walled"] != states["plain"]
				}
				if differ {
					t.Errorf("%s, after %s: %s: %v", isolation, first, second, states)
				}
			}
		}
	}
}

// pair is two sessions of one app.
type pair struct{ one, other client }

func newPair(t *testing.T, open dialer) *pair {
	t.Helper()
	a, err := open(t.Context())
	one := opened(t, a, err)
	b, err := open(t.Context())
	p := &pair{one, opened(t, b, err)}
	p.one.do(t, migrations...)
	p.one.do(t, `CREATE FUNCTION differs(text, int) RETURNS bool LANGUAGE sql AS 'SELECT true'`)
	return p
}

// run returns the state of what the other session did while the first had not ended; nothing is left of either.
func (p *pair) run(t *testing.T, isolation, first, second string) string {
	t.Helper()
	p.other.do(t, `BEGIN ISOLATION LEVEL `+isolation, `SET LOCAL lock_timeout = '30ms'`, `SELECT 1`)
	p.one.do(t, `BEGIN`, first)
	_, err := p.other.Exec(t.Context(), second)
	p.other.do(t, `ROLLBACK`)
	p.one.do(t, `ROLLBACK`)
	if err != nil && stateOf(err) == "" {
		return fmt.Sprint(err)
	}
	return stateOf(err)
}

package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// testRestorePostGIS: what pg_dump writes of a database with PostGIS, spatial reference systems of one's own included, is
// restored by a tenant without an error, and holds none of our rights.
func testRestorePostGIS(t *testing.T, s server) {
	b := s.bind(t)
	c := b.connect(t)
	c.do(t, `INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text)
		VALUES (990001, 'ours', 1, 'LOCAL_CS["ours"]', '+proj=longlat +datum=WGS84 +no_defs')`)
	dump := filepath.Join(t.TempDir(), "dump")
	if said, err := b.run(t, "verify-full", s.TLS.Authority, "pg_dump", "--format=custom", "--file="+dump); err != nil {
		t.Fatalf("pg_dump: %v: %s", err, said)
	}
	other := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 5}).bind(t)
	if said, err := other.run(t, "verify-full", other.TLS.Authority, "pg_restore", "--exit-on-error", "--dbname=main",
		dump); err != nil {
		t.Fatalf("pg_restore: %v: %s", err, said)
	}
	restored := other.connect(t)
	restored.want(t, `SELECT auth_name FROM spatial_ref_sys WHERE srid = 990001`, "ours")
	restored.want(t, `SELECT count(*) FROM places`, "1")
	restored.do(t, `UPDATE spatial_ref_sys SET auth_srid = 2 WHERE srid = 990001`,
		`DELETE FROM spatial_ref_sys WHERE srid = 990001`)
	restored.refused(t, `TRUNCATE spatial_ref_sys`, denied)
	reader := other.bindReadOnly(t).connect(t)
	reader.do(t, `SET default_transaction_read_only = off`)
	reader.refused(t, `DELETE FROM spatial_ref_sys`, denied)
	listed, err := b.run(t, "verify-full", s.TLS.Authority, "pg_restore", "--list", dump)
	if err != nil || strings.Contains(listed, "ACL public TABLE spatial_ref_sys") {
		t.Errorf("the dump holds what we grant (%v): %s", err, listed)
	}
}

// older makes extensions what they are when their packages have become newer.
func (s server) older(t *testing.T) {
	t.Helper()
	s.admin(t).do(t, `ALTER EVENT TRIGGER backstay_extension DISABLE`, `ALTER EVENT TRIGGER backstay_after_extension DISABLE`,
		`DROP EXTENSION IF EXISTS pg_trgm`, `CREATE EXTENSION pg_trgm SCHEMA public VERSION '1.3'`,
		`ALTER EVENT TRIGGER backstay_extension ENABLE`, `ALTER EVENT TRIGGER backstay_after_extension ENABLE`,
		`UPDATE pg_extension SET extversion = '3.3.1' WHERE extname = 'postgis'`,
		`REVOKE ALL ON spatial_ref_sys FROM owner`) // as in an instance that an earlier version has made
}

const versions = `SELECT string_agg(extname || ' ' || extversion, ', ' ORDER BY extname) FROM pg_extension
	WHERE extname IN ('pg_trgm', 'postgis')`

// testUpdate: a tenant updates extensions whose packages have become newer, however it says so.
func testUpdate(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	for _, updates := range [][]string{
		{"-- at last\nALTER EXTENSION pg_trgm UPDATE", `alter extension "postgis" update to '3.3.2';`},
		{`DO 'BEGIN ALTER EXTENSION pg_trgm UPDATE; ALTER EXTENSION postgis UPDATE; END'`, `ALTER EXTENSION pg_trgm UPDATE`},
		{`BEGIN; ALTER EXTENSION pg_trgm UPDATE TO '1.5'; COMMIT; ALTER EXTENSION pg_trgm UPDATE`,
			`SELECT postgis_extensions_upgrade()`},
	} {
		s.older(t)
		c.want(t, versions, "pg_trgm 1.3, postgis 3.3.1")
		c.do(t, updates...)
		c.want(t, versions, "pg_trgm 1.6, postgis 3.3.2")
	}
	for _, name := range []string{"dblink", "hstore"} {
		c.refused(t, `ALTER EXTENSION `+name+` UPDATE`, "42704") // it is not there
	}
	c.refused(t, `ALTER EXTENSION pg_trgm ADD TABLE places`, denied)
	c.do(t, `DELETE FROM spatial_ref_sys WHERE srid = 990001`)
	c.want(t, `SELECT ST_AsText(ST_Transform(at, 3857), 0) FROM places`, "POINT(111319 222684)")
}

// testUpdateBesideAnalyze: an update waits until whoever looks at a table that it fills has ended, as autovacuum does,
// before it changes what that one is about to change.
func testUpdateBesideAnalyze(t *testing.T, s server) {
	for _, update := range []string{`ALTER EXTENSION postgis UPDATE`, `SELECT postgis_extensions_upgrade()`,
		`DO 'BEGIN ALTER EXTENSION pg_trgm UPDATE; ALTER EXTENSION postgis UPDATE; END'`} {
		for _, rights := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s rights=%t", update, rights), func(t *testing.T) { updateBesideAnalyze(t, s, update, rights) })
		}
	}
}

func updateBesideAnalyze(t *testing.T, s server, update string, rights bool) {
	s.older(t)
	a, c := s.admin(t), s.bind(t).connect(t)
	if rights {
		c.do(t, `ALTER EXTENSION pg_trgm UPDATE`) // gives them
	}
	a.do(t, `BEGIN`, `LOCK TABLE spatial_ref_sys IN SHARE UPDATE EXCLUSIVE MODE`) // as ANALYZE begins
	updated := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), update)
		updated <- err
	}()
	waiting := `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'spatial_ref_sys'::regclass AND NOT granted)`
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		select {
		case err := <-updated:
			return false, fmt.Errorf("it has ended: %w", err)
		default:
		}
		var blocked bool
		err = a.QueryRow(ctx, waiting).Scan(&blocked)
		return err == nil && !blocked, err
	})
	if err != nil {
		t.Fatalf("it does not wait: %v", err)
	}
	a.do(t, `ANALYZE spatial_ref_sys`, `COMMIT`)
	if err := <-updated; err != nil {
		t.Error(err)
	}
	c.want(t, `SELECT extversion FROM pg_extension WHERE extname = 'postgis'`, "3.3.2")
}

// testUpdateNoWayUp: the script of an update runs as superuser, and calls what the extension has made too.
func testUpdateNoWayUp(t *testing.T, s server) {
	b := s.bind(t)
	c := b.connect(t)
	s.older(t)
	c.do(t, `CREATE FUNCTION up() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
		EXECUTE 'ALTER ROLE `+b.name+` SUPERUSER'; RETURN 1; END $$`)
	for _, trap := range []struct{ set, clear string }{
		{`CREATE FUNCTION similarity(varchar, varchar) RETURNS real LANGUAGE sql AS 'SELECT up(); SELECT 1.0::real'`,
			`DROP FUNCTION similarity(varchar, varchar)`},
		{`CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT up(); SELECT ''none'''`,
			`DROP FUNCTION lower(varchar)`},
		{`CREATE FUNCTION ne(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT up(); SELECT true';
			CREATE OPERATOR %> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = ne)`, `DROP FUNCTION ne CASCADE`},
		{`CREATE VIEW _postgis_upgrade_info AS SELECT up()`, `DROP VIEW _postgis_upgrade_info`},
	} {
		c.do(t, trap.set)
		c.refused(t, `ALTER EXTENSION pg_trgm UPDATE`, notNow)
		c.refused(t, `ALTER EXTENSION postgis UPDATE`, notNow)
		c.refused(t, `DO 'BEGIN ALTER EXTENSION pg_trgm UPDATE; END'`, notNow)
		c.refused(t, `/* CREATE EXTENSION pg_trgm; */ ALTER EXTENSION pg_trgm UPDATE`, notNow)
		c.refused(t, `SELECT 'ALTER EXTENSION plpgsql UPDATE'; ALTER EXTENSION pg_trgm UPDATE`, notNow)
		c.do(t, trap.clear)
	}
	c.do(t, `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	c.refused(t, `ALTER EXTENSION pg_trgm UPDATE`, notNow)
	c.do(t, `ROLLBACK`, `DROP FUNCTION up()`)
	c.want(t, versions, "pg_trgm 1.3, postgis 3.3.1")
	c.want(t, `SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname <> 'backstay'`, "0")
}

// TestOffer: only what the platform offers can be created, whatever PostgreSQL trusts, and that can change. What all of
// Extensions() need is there.
func TestOffer(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 10})
	c := s.bind(t).connect(t)
	for _, name := range postgres.Extensions() {
		c.do(t, `CREATE EXTENSION "`+name+`"`, `DROP EXTENSION "`+name+`"`,
			`SELECT 1; CREATE EXTENSION IF NOT EXISTS "`+name+`"`, `COMMENT ON EXTENSION "`+name+`" IS 'x'`)
	}
	c.do(t, `SELECT 1::int + 1`, `DROP EXTENSION hstore`)
	c.want(t, `SELECT count(*) > 0 FROM pg_stat_statements WHERE query LIKE 'SELECT $1::int%'`, "true")
	c.want(t, `SELECT count(*) FROM pg_stat_statements WHERE query ~ 'SCRAM|PASSWORD'`, "0")
	s.Settings = json.RawMessage(`{"extensions": ["pgcrypto", "citext"]}`)
	s.configure(t)
	_, err := c.Exec(t.Context(), `CREATE EXTENSION hstore`)
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Hint != "Supported are: citext, pgcrypto." {
		t.Errorf("what is not offered any more: %+v", err)
	}
	c.do(t, `DROP EXTENSION pgcrypto`, `CREATE EXTENSION pgcrypto`)
}

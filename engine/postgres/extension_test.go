package postgres_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

const notNow = "55000" // object_not_in_prerequisite_state

// TestWholeDatabase has a node to itself, for what concerns all of its database: its parts run one
// after the other.
func TestWholeDatabase(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 5})
	for _, c := range []struct {
		name string
		test func(*testing.T, server)
	}{
		{"AtMostTheConnectionsOfThePlan", testConnections},
		{"ExtensionsOffTheListAreRefused", testRefusedExtensions},
		{"ExtensionsAreNoWayUp", testExtensionsNoWayUp},
		{"FunctionsMadeMeanwhileAreSeen", testShadowedMeanwhile},
		{"ExtensionsServeAllBindings", testExtensions},
		{"DumpOfPostGISIsRestored", testRestorePostGIS},
		{"ExtensionsAreUpdated", testUpdate},
		{"UpdatesWaitForWhoLooks", testUpdateBesideAnalyze},
		{"UpdatesAreNoWayUp", testUpdateNoWayUp},
		{"DumpHoldsNothingOfOurs", testDump},
		{"ConfigureIsIdempotent", testConfigure},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func testConnections(t *testing.T, s server) {
	b := s.bind(t)
	for range s.Size.Connections {
		b.squeezeIn(t)
	}
	if conn, err := dial(t.Context(), b.credentials); stateOf(err) != "53300" {
		t.Errorf("one more: got %v, %v, want too_many_connections", conn, err)
	}
	if err := (postgres.Engine{}).Probe(t.Context(), s.Node); err != nil {
		t.Errorf("a full server is said not to serve: %v", err)
	}
	b.unbind(t)
	s.bind(t).connect(t)
}

// Whatever keeps an extension from being created, who asks for it reads which ones are supported.
func testRefusedExtensions(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	// pgextwlist has other words for what is not on the machine.
	names := []string{"file_fdw", "postgres_fdw", "dblink", "adminpack", "postgis_raster"}
	for _, name := range names {
		for _, sql := range []string{`CREATE EXTENSION ` + name, `create extension if not exists "` + name + `" CASCADE;`,
			"-- what we need\nCREATE EXTENSION " + name + " SCHEMA public"} {
			_, err := c.Exec(t.Context(), sql)
			var refusal *pgconn.PgError
			if !errors.As(err, &refusal) || refusal.Code != denied || refusal.Message != name+" is not supported" ||
				!strings.Contains(refusal.Hint, "postgis, seg") || strings.Contains(refusal.Where, "backstay") {
				t.Errorf("%s: %+v", sql, err)
			}
		}
		if _, err := c.Exec(t.Context(), `DO 'BEGIN CREATE EXTENSION `+name+`; END'`); err == nil {
			t.Errorf("%s was created", name)
		}
	}
	c.refused(t, `CREATE EXTENSION no_such`, "58P01")
	c.do(t, `CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog`) // as old dumps have it
	c.want(t, `SELECT string_agg(extname, ' ') FROM pg_extension`, "plpgsql")
}

// The script of an extension runs as superuser: nothing that a binding made may be called by it.
func testExtensionsNoWayUp(t *testing.T, s server) {
	b := s.bind(t)
	c := b.connect(t)
	c.do(t, `CREATE SCHEMA trap`,
		`CREATE FUNCTION trap.up() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'ALTER ROLE `+b.name+` SUPERUSER'; END $$`)
	for _, trap := range []struct{ set, clear string }{
		{`CREATE FUNCTION trap.split_part(text, char, int) RETURNS text LANGUAGE sql AS 'SELECT trap.up(); SELECT ''15'''`,
			`DROP FUNCTION trap.split_part`},
		{`CREATE FUNCTION trap.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT trap.up(); SELECT ''none'''`,
			`DROP FUNCTION trap.lower(varchar)`},
		{`CREATE FUNCTION trap.ne(text, text) RETURNS bool LANGUAGE sql AS 'SELECT trap.up(); SELECT false'; CREATE OPERATOR trap.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.ne)`, `DROP FUNCTION trap.ne CASCADE`},
		{`CREATE FUNCTION trap.postgis_extension_drop_if_exists(varchar, varchar) RETURNS void LANGUAGE sql AS 'SELECT trap.up()'`, `DROP FUNCTION trap.postgis_extension_drop_if_exists`},
	} {
		c.do(t, trap.set)
		for _, name := range []string{"postgis", `"uuid-ossp"`} {
			c.refused(t, `CREATE EXTENSION `+name+` SCHEMA trap`, notNow)
		}
		c.refused(t, `CREATE EXTENSION dblink SCHEMA trap`, denied)
		c.do(t, `CREATE EXTENSION "uuid-ossp" SCHEMA public`, `DROP EXTENSION "uuid-ossp"`) // whose script does not see it
		c.do(t, trap.clear)
	}
	c.refused(t, `CREATE EXTENSION postgis VERSION unpackaged`, denied)
	c.do(t, `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	c.refused(t, `CREATE EXTENSION "uuid-ossp"`, notNow)
	c.do(t, `ROLLBACK`, `DROP SCHEMA trap CASCADE`)
	c.want(t, `SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname <> 'backstay'`, "0")
}

// A trap that is set in a transaction of another session, committed after the command began, is seen.
func testShadowedMeanwhile(t *testing.T, s server) {
	b := s.bind(t)
	trapper, creator := b.connect(t), b.connect(t)
	trapper.do(t, `BEGIN`, `CREATE FUNCTION public.upper(int) RETURNS text LANGUAGE sql AS 'SELECT ''X'''`)
	state := make(chan string, 1)
	go func() {
		_, err := creator.Exec(t.Context(), `CREATE EXTENSION "uuid-ossp"`)
		state <- stateOf(err)
	}()
	admin := s.admin(t)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		var waits bool
		err := admin.QueryRow(t.Context(),
			`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')`).Scan(&waits)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the command does not wait for the other session (%v, it said %v)", err, len(state))
		}
		if waits {
			break
		}
	}
	trapper.do(t, `COMMIT`)
	if got := <-state; got != notNow {
		t.Errorf("got %q, want it refused with %s", got, notNow)
	}
	trapper.do(t, `DROP FUNCTION public.upper(int)`)
}

func testExtensions(t *testing.T, s server) {
	maker := s.bind(t)
	maker.connect(t).do(t, `CREATE EXTENSION postgis`, `CREATE EXTENSION IF NOT EXISTS postgis`,
		`CREATE EXTENSION "uuid-ossp"`,
		`CREATE TABLE places (id uuid DEFAULT uuid_generate_v4(), at geometry(Point, 4326))`)
	maker.unbind(t)
	c := s.bind(t).connect(t)
	c.do(t, `INSERT INTO places (at) VALUES (ST_SetSRID(ST_MakePoint(1, 2), 4326))`,
		`CREATE INDEX ON places USING gist (at)`,
		`DROP EXTENSION "uuid-ossp" CASCADE`, `CREATE EXTENSION "uuid-ossp"`)
	c.want(t, `SELECT ST_AsText(ST_Transform(at, 3857), 0) FROM places`, "POINT(111319 222684)")
	c.want(t, `SELECT pg_get_userbyid(extowner) = 'backstay' FROM pg_extension WHERE extname = 'postgis'`, "true")
	for _, change := range []string{`ADD TABLE places`, `DROP FUNCTION postgis_version()`, `SET SCHEMA public`} {
		c.refused(t, `ALTER EXTENSION postgis `+change, denied)
	}
	c.refused(t, `CREATE OR REPLACE FUNCTION postgis_version() RETURNS text LANGUAGE sql AS 'SELECT ''evil'''`, denied)
	c.refused(t,
		`CREATE TRIGGER evil BEFORE INSERT ON spatial_ref_sys EXECUTE FUNCTION suppress_redundant_updates_trigger()`, denied)
}

// What a binding dumps can be loaded by anybody, anywhere.
func testDump(t *testing.T, s server) {
	b := s.bind(t)
	c := b.connect(t)
	c.do(t, `CREATE TABLE dumped (n int PRIMARY KEY)`, `INSERT INTO dumped VALUES (7)`,
		`SELECT lo_from_bytea(60002, 'x')`)
	dump := filepath.Join(t.TempDir(), "dump.sql")
	if said, err := b.run(t, "verify-full", s.TLS.Authority, "pg_dump", "--no-owner", "--no-acl",
		"--file="+dump); err != nil {
		t.Fatalf("pg_dump: %v: %s", err, said)
	}
	elsewhere := testkit.Postgres(t)
	load := exec.CommandContext(t.Context(), filepath.Join(s.Installation.Dir, "psql"), "-Xq", "-v", "ON_ERROR_STOP=1",
		"-d", elsewhere, "-f", dump)
	if said, err := load.CombinedOutput(); err != nil {
		t.Fatalf("load: %v: %s", err, said)
	}
	whole, err := b.run(t, "verify-full", s.TLS.Authority, "pg_dump")
	if err != nil {
		t.Fatalf("pg_dump: %v: %s", err, whole)
	}
	for _, ours := range []string{"backstay_", "EVENT TRIGGER", "plpgsql"} {
		if strings.Contains(whole, ours) {
			t.Errorf("the dump holds %q", ours)
		}
	}
}

func testConfigure(t *testing.T, s server) {
	e := postgres.Engine{}
	c := s.bind(t).connect(t)
	c.do(t, `DROP EXTENSION postgis CASCADE`, `DROP EXTENSION IF EXISTS pg_trgm, hstore CASCADE`)
	s.Settings = json.RawMessage(`{"enable_extensions": ["uuid-ossp", "postgis"]}`)
	for range 2 {
		if err := e.Configure(t.Context(), s.Node); err != nil {
			t.Fatal(err)
		}
	}
	c.want(t, `SELECT string_agg(extname || ' ' || extnamespace::regnamespace, ', ' ORDER BY extname) FROM pg_extension`,
		"plpgsql pg_catalog, postgis public, uuid-ossp public")
}

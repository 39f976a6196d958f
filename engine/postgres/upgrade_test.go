package postgres_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// newerOf is the node as it is after an upgrade.
func newerOf(t *testing.T, n engine.Node) engine.Node {
	t.Helper()
	found, err := twoVersions(t).Installations(t.Context())
	if err != nil || len(found) < 2 {
		t.Fatalf("got %v, %v", found, err)
	}
	n.Installation, n.DataDir = found[0], filepath.Join(filepath.Dir(n.DataDir), "data-2")
	n.Admin = postgres.Engine{}.LocalAdmin(n)
	return n
}

// hardToBringOver is what tenants have made besides.
var hardToBringOver = []string{
	`CREATE EXTENSION hstore`, `DROP EXTENSION unaccent`,
	`CREATE TABLE words (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), word text, british text COLLATE "en_GB.utf8")`,
	`CREATE INDEX ON words (word)`, `CREATE INDEX ON words (british)`, `CREATE INDEX ON words (lower(word))`,
	`INSERT INTO words (word, british) SELECT repeat(chr(65 + n % 26), 1 + n % 5), 'w' || n FROM generate_series(1, 5000) n`,
	`CREATE TYPE apart.mood AS ENUM ('glad', 'sad')`, `CREATE SEQUENCE apart.counted`,
	`CREATE VIEW apart.moods AS SELECT 'glad'::apart.mood AS mood`, `SELECT nextval('apart.counted')`,
	`CREATE FUNCTION apart.told() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 2'`,
	`GRANT EXECUTE ON FUNCTION apart.told() TO PUBLIC`, `REVOKE USAGE ON TYPE apart.mood FROM PUBLIC`,
	`CREATE MATERIALIZED VIEW apart.most AS SELECT count(*) FROM words`,
	`ALTER DEFAULT PRIVILEGES IN SCHEMA apart GRANT SELECT ON TABLES TO PUBLIC`,
}

func (b binding) makeWhatIsHard(t *testing.T) {
	t.Helper()
	b.connect(t).do(t, tenant...)
	b.connect(t).do(t, hardToBringOver...)
	b.connect(t).do(t, `SET ROLE NONE`, `ALTER ROLE CURRENT_USER SET work_mem = '5MB'`)
}

// TestUpgrade upgrades a database in which tenants have made what is hard to bring over.
func TestUpgrade(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	e := postgres.Engine{}
	n := enginetest.NewNode(t, e)
	n.Settings = json.RawMessage(`{"collation": "en-US", "enable_extensions": ["pgcrypto", "unaccent"]}`)
	to := newerOf(t, n)
	old := enginetest.Serve(t, e, n)
	s := server{n}
	s.admin(t).do(t, `COMMENT ON EVENT TRIGGER backstay_read_only IS 'of an earlier version'`)
	if err := e.Configure(t.Context(), n); err != nil { // builds walls while they stand
		t.Fatal(err)
	}
	w, r := s.bind(t), s.bindReadOnly(t)
	w.makeWhatIsHard(t)
	w.connect(t).do(t, "CREATE EXTENSION pg_stat_statements")
	if err := e.CheckUpgrade(t.Context(), n, to); err != nil {
		t.Fatal(err)
	}
	old.Stop(t)
	if err := e.Upgrade(t.Context(), n, to, func(string) {}); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, e, to)
	s = server{to}
	testBroughtOver(t, w.of(s), r.of(s))
	w.of(s).connect(t).want(t, "SELECT count(*) > 0 FROM pg_stat_statements", "true")
	testOwnRole(t, s)

	a := s.admin(t)
	a.want(t, `SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database`, "main template0")
	a.want(t, `SELECT datcollversion = pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = 'main'`, "true")
	a.want(t, `SELECT has_database_privilege('public', 'template0', 'CONNECT')`, "false")
	a.want(t, `SELECT count(*) FROM pg_statistic WHERE starelid = 'public.words'::regclass`, "0")
	if err := e.Refresh(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	a.want(t, `SELECT count(*) > 0 FROM pg_statistic WHERE starelid = 'public.words'::regclass`, "true")
}

// testBroughtOver has bindings from before an upgrade find what was made, and use it as before.
func testBroughtOver(t *testing.T, w, r binding) {
	t.Helper()
	c := w.connect(t)
	c.want(t, `SELECT current_setting('server_version_num')::int / 10000`, w.server.Installation.Version)
	c.want(t, `SELECT count(*) FROM words WHERE id IS NOT NULL AND lower(word) >= 'a'`, "5000")
	c.want(t, `SELECT 'Ä' < 'b' AND 'a' < 'B'`, "true")
	c.want(t, `SELECT british FROM words ORDER BY british DESC LIMIT 1`, "w999")
	c.want(t, `SELECT nextval('apart.counted')`, "2")
	c.want(t, `SELECT count FROM apart.most`, "5000")
	c.want(t, `SELECT mood FROM apart.moods`, "glad")
	c.want(t, `SELECT current_setting('work_mem')`, "5MB")
	c.want(t, `SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension WHERE extname <> 'pg_stat_statements'`,
		"hstore pgcrypto plpgsql unaccent uuid-ossp") // as at every start
	c.want(t, `SELECT count(*) FROM pg_extension JOIN pg_available_extensions ON name = extname
		WHERE extversion <> default_version`, "0")
	c.do(t, `CREATE EXTENSION citext`, `DROP EXTENSION hstore`, `INSERT INTO words (word) VALUES ('new')`)
	c.refused(t, `CREATE EXTENSION dblink`, denied)
	testReads(t, r)
	mere := r.connect(t)
	mere.want(t, `SELECT apart.told()`, "2")
	mere.refused(t, `INSERT INTO words (word) VALUES ('mine')`, readOnly)
	mere.refused(t, `SELECT lo_create(0)`, denied, readOnly)
}

// TestUpgradeIsNotPossible wants each reason told in words, and the database to serve on.
func TestUpgradeIsNotPossible(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20})
	to := newerOf(t, s.Node)
	c := s.bind(t).connect(t)
	for _, tc := range []struct{ make, drop, want string }{
		{`CREATE EXTENSION postgis`, `DROP EXTENSION postgis`, "PostgreSQL 17 lacks extensions that the database has: postgis."},
		{`CREATE TABLE odd (name regproc)`, `DROP TABLE odd`, "reg* data types in user tables"},
	} {
		c.do(t, tc.make)
		err := postgres.Engine{}.CheckUpgrade(t.Context(), s.Node, to)
		if backstay.KindOf(err) != backstay.Unsupported || !strings.Contains(backstay.SentenceOf(err), tc.want) {
			t.Errorf("%s: got %v %q, want %q", tc.make, err, backstay.SentenceOf(err), tc.want)
		}
		c.do(t, tc.drop)
	}
	if err := (postgres.Engine{}).CheckUpgrade(t.Context(), s.Node, to); err != nil {
		t.Errorf("nothing is in the way any more: got %v", err)
	}
}

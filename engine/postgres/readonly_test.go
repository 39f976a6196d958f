package postgres_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// TestReadOnly is what a read-only binding may and may not do, whatever it says of its transactions.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 50})
	early := s.bindReadOnly(t) // was there first
	w := s.bind(t).connect(t)
	w.do(t, tenant...)
	late := s.bindReadOnly(t)
	for name, b := range map[string]binding{"early": early, "late": late} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testReads(t, b)
			testChangesNothing(t, b, w)
		})
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, server)
	}{
		{"SeesWhatIsMadeOutsideOwner", testReadsOutsideOwner},
		{"UnbindLeavesNothing", testUnbindReader},
		{"OwnRole", testOwnRole},
		{"Meddlers", testMeddlers},
		{"Hammer", testHammer},
		{"Dump", testDumpReadOnly},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) }) // before those above, which look whether anything changes
	}
}

// tenant is one of everything, with the rights for PUBLIC that dumps from elsewhere bring along.
var tenant = []string{
	`GRANT ALL ON SCHEMA public TO PUBLIC`, `ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC`,
	`CREATE SCHEMA "Odd ""schema"`,
	`CREATE TABLE t (n int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`, `CREATE VIEW v AS SELECT n FROM t`,
	`CREATE MATERIALIZED VIEW m AS SELECT n FROM t`, `CREATE SEQUENCE s`, `SELECT nextval('s')`,
	`CREATE SCHEMA apart CREATE TABLE t (n int)`, `INSERT INTO apart.t VALUES (1)`,
	`CREATE TABLE parted (n int) PARTITION BY LIST (n)`, `CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1)`,
	`INSERT INTO parted VALUES (1)`,
	`CREATE TABLE walled (n int)`, `INSERT INTO walled VALUES (1)`, `ALTER TABLE walled ENABLE ROW LEVEL SECURITY`,
	`ALTER TABLE walled FORCE ROW LEVEL SECURITY`,
	`ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC`, `CREATE TABLE hidden (n int)`,
	`INSERT INTO hidden VALUES (1)`, `REVOKE ALL ON hidden FROM PUBLIC`,
	`DO $$ BEGIN PERFORM lo_from_bytea(4711, 'one'); END $$`,
	`CREATE FUNCTION plain() RETURNS int LANGUAGE sql AS 'SELECT n FROM t'`, `CREATE VIEW calling AS SELECT plain() AS n`,
	`CREATE TYPE mood AS ENUM ('good')`,
	`CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (7) RETURNING n'`,
	`CREATE FUNCTION definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO t VALUES (8) RETURNING n'`,
	`CREATE OR REPLACE FUNCTION definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO t VALUES (9) RETURNING n'`,
	`CREATE PROCEDURE "Odd ""name"(int, text[]) LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM t'`,
	`CREATE FUNCTION becomes() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (10) RETURNING n'`,
	`ALTER FUNCTION becomes() SECURITY DEFINER`,
	`CREATE EXTENSION "uuid-ossp"`, `CREATE VIEW calls_definer AS SELECT definer()`,
	`CREATE VIEW counts AS SELECT nextval('s')`,
}

func testReads(t *testing.T, b binding) {
	c := b.connect(t)
	for _, relation := range []string{"t", "v", "m", "apart.t", "parted", "parted_1", "walled", "hidden", "calling"} {
		c.want(t, `SELECT n FROM `+relation, "1")
	}
	c.want(t, `SELECT last_value FROM s`, "1")
	c.want(t, `SELECT convert_from(lo_get(4711), 'UTF8')`, "one")
	c.want(t, `SELECT plain()`, "1")
	c.want(t, `SELECT 'good'::mood`, "good")
	c.want(t, `SELECT current_user = session_user AND current_user = '`+b.name+`'`, "true")
	c.do(t, `COPY t TO STDOUT`, `EXPLAIN ANALYZE SELECT * FROM t`,
		`BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH c; COMMIT`,
		`BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; COMMIT`, `LISTEN news`)
}

// readOnlyRefusals are what a read-only binding may not do.
var readOnlyRefusals = []string{
	`INSERT INTO t VALUES (2)`, `UPDATE t SET n = 2`, `DELETE FROM t`, `TRUNCATE t`,
	`MERGE INTO t USING v ON false WHEN NOT MATCHED THEN INSERT VALUES (2)`, `COPY t FROM STDIN`,
	`WITH x AS (DELETE FROM t RETURNING n) SELECT * FROM x`,
	`INSERT INTO v VALUES (2)`, `UPDATE parted SET n = 2`, `DELETE FROM apart.t`, `DELETE FROM walled`,
	`SELECT * FROM t FOR UPDATE`, `SELECT * FROM t FOR KEY SHARE`, `BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE`,
	`REFRESH MATERIALIZED VIEW m`,
	`SELECT nextval('s')`, `SELECT setval('s', 7)`, `SELECT * FROM counts`,
	`SELECT lo_creat(-1)`, `SELECT lo_create(0)`, `SELECT lo_from_bytea(0, 'x')`, `SELECT lo_put(4711, 0, 'x')`,
	`SELECT lo_unlink(4711)`, `SELECT lowrite(lo_open(4711, 131072), 'x')`,
	`SELECT lo_truncate(lo_open(4711, 131072), 0)`,
	`SELECT lo_truncate64(lo_open(4711, 131072), 0)`, `SELECT lo_import('/etc/passwd')`,
	`GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC`, `ALTER LARGE OBJECT 4711 OWNER TO $me`, `DELETE FROM pg_largeobject`,
	`SELECT writes()`, `SELECT definer()`, `SELECT becomes()`, `SELECT * FROM calls_definer`,
	`CALL "Odd ""name"(1, '{}')`, `DO $$ BEGIN DELETE FROM t; END $$`, `DO $$ BEGIN PERFORM definer(); END $$`,
	`CREATE TABLE intruder (n int)`, `CREATE TABLE intruder AS SELECT 1`, `SELECT 1 AS n INTO intruder`,
	`CREATE TEMPORARY TABLE intruder (n int)`, `CREATE TABLE pg_temp.intruder (n int)`,
	`SELECT 1 AS n INTO TEMPORARY intruder`, `CREATE TEMPORARY VIEW intruder AS SELECT 1`,
	`CREATE VIEW intruder AS SELECT 1`, `CREATE SEQUENCE intruder`,
	`CREATE FUNCTION intruder() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `CREATE TYPE intruder AS ENUM ('a')`,
	`CREATE TABLE "Odd ""schema".intruder (n int)`, `CREATE SCHEMA intruder`, `CREATE EXTENSION postgis`,
	`DROP EXTENSION "uuid-ossp"`, `ALTER EXTENSION "uuid-ossp" UPDATE`, `ALTER EXTENSION "uuid-ossp" SET SCHEMA apart`,
	`COMMENT ON EXTENSION "uuid-ossp" IS 'x'`, `CREATE PUBLICATION intruder`,
	`CREATE TEXT SEARCH DICTIONARY intruder (TEMPLATE = simple)`,
	`CREATE AGGREGATE intruder(int) (SFUNC = int4pl, STYPE = int)`, `CREATE COLLATION intruder (LOCALE = 'C')`,
	`CREATE DOMAIN intruder AS int`, `CREATE STATISTICS intruder ON n, n FROM t`,
	`CREATE INDEX ON t (n)`,
	`CREATE TRIGGER intruder BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
	`CREATE POLICY intruder ON t`, `CREATE RULE intruder AS ON INSERT TO t DO NOTHING`,
	`ALTER TABLE t ADD m int`, `ALTER TABLE t OWNER TO $me`, `DROP TABLE t`, `DROP VIEW v`, `DROP SCHEMA apart CASCADE`,
	`DROP FUNCTION definer()`, `ALTER SEQUENCE s RESTART`, `COMMENT ON TABLE t IS 'x'`, `REINDEX TABLE t`,
	`GRANT SELECT ON t TO PUBLIC`, `GRANT INSERT ON t TO $me`, `GRANT owner TO $me`,
	`ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO PUBLIC`,
	`SET ROLE owner`, `SET SESSION AUTHORIZATION owner`, `ALTER ROLE owner PASSWORD 'x'`, `ALTER ROLE reader LOGIN`,
	`ALTER ROLE $me NOBYPASSRLS`, `ALTER ROLE $me SUPERUSER`, `DROP ROLE $me`,
	`SET lo_compat_privileges = off`, `ALTER DATABASE main SET search_path = evil`, `SELECT pg_read_file('PG_VERSION')`,
	`SELECT pg_create_physical_replication_slot('s')`, `DROP EVENT TRIGGER backstay_read_only`,
	`ALTER SYSTEM SET work_mem = '1GB'`,
	`REASSIGN OWNED BY owner TO $me`, `DROP OWNED BY owner`, `CREATE ROLE intruder`,
}

// testChangesNothing: it takes no notice of being read-only, and it may become a role that it is a member of.
func testChangesNothing(t *testing.T, b binding, w client) {
	admin := b.admin(t)
	before := sum(t, admin)
	c := b.connect(t)
	try := func(sql string) error {
		_, err := c.Exec(t.Context(), strings.ReplaceAll(sql, "$me", b.name))
		c.do(t, `ROLLBACK`)
		return err
	}
	for _, sql := range readOnlyRefusals {
		if err := try(sql); err == nil {
			t.Errorf("%s: succeeds", sql)
		}
	}
	c.do(t, `SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE`)
	for _, as := range []string{"none", "reader", "pg_read_all_data"} {
		c.do(t, `SET ROLE `+as)
		for _, sql := range readOnlyRefusals {
			if err := try(sql); err == nil || as == "none" && stateOf(err) != denied {
				t.Errorf("%s, read-write as %s: got %v, want it to be refused", sql, as, err)
			}
		}
	}
	if after := sum(t, admin); before != after {
		t.Errorf("there was %s and now is %s", before, after)
	}
	w.want(t, `SELECT string_agg(n::text, ' ') FROM t`, "1")
}

// sum tells whether anything of a tenant's has changed.
func sum(t *testing.T, admin client) (text string) {
	t.Helper()
	err := admin.QueryRow(t.Context(), `SELECT concat_ws(' ', (SELECT count(*) FROM pg_class WHERE oid >= 16384), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_type), (SELECT count(*) FROM pg_extension), (SELECT count(*) FROM pg_default_acl), (SELECT md5(string_agg(relacl::text, ' ' ORDER BY oid)) FROM pg_class), (SELECT md5(string_agg(description, ' ' ORDER BY objoid)) FROM pg_description), (SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_'),
		(SELECT md5(string_agg(loid || data::text, ' ')) FROM pg_largeobject), (SELECT last_value FROM s), (SELECT sum(n) FROM t), (SELECT sum(n) FROM apart.t), (SELECT sum(n) FROM walled), (SELECT sum(n) FROM parted))`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What lies outside the common ground is seen too.
func testReadsOutsideOwner(t *testing.T, s server) {
	loner := s.bind(t)
	c := loner.connect(t)
	c.do(t, `GRANT CREATE, USAGE ON SCHEMA apart TO `+loner.name, `SET ROLE NONE`, `CREATE TABLE apart.lonely (n int)`,
		`INSERT INTO apart.lonely VALUES (1)`, `ALTER TABLE apart.lonely ENABLE ROW LEVEL SECURITY`)
	s.bindReadOnly(t).connect(t).want(t, `SELECT n FROM apart.lonely`, "1")
}

func testUnbindReader(t *testing.T, s server) {
	b := s.bindReadOnly(t)
	begun := b.connect(t)
	begun.do(t, `BEGIN`, `SELECT * FROM t`)
	s.bind(t).connect(t).do(t, `GRANT SELECT ON t TO `+b.name,
		`CREATE POLICY for_reader ON walled TO `+b.name+` USING (true)`)
	b.unbind(t)
	b.unbind(t)
	if _, err := begun.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("a session of a binding that is gone goes on")
	}
	s.admin(t).want(t, `SELECT count(*) FROM pg_roles WHERE rolname = '`+b.name+`'`, "0")
}

// A dump by a binding that may only read is whole, and holds nothing of what walls it in.
func testDumpReadOnly(t *testing.T, s server) {
	b := s.bindReadOnly(t)
	said, err := b.run(t, "verify-full", s.TLS.Authority, "pg_dump")
	if err != nil {
		t.Fatalf("pg_dump: %v: %s", err, said)
	}
	for _, part := range []string{"COPY public.walled", "lo_open('4711'",
		"CREATE FUNCTION public.definer()", "COPY apart.t"} {
		if !strings.Contains(said, part) {
			t.Errorf("the dump lacks %q", part)
		}
	}
	for _, ours := range []string{"backstay_", "reader", "pg_catalog.lo_create(oid)", "EVENT TRIGGER"} {
		if strings.Contains(said, ours) {
			t.Errorf("the dump holds %q", ours)
		}
	}
}

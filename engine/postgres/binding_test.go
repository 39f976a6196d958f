package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// TestBindings is what bindings of one instance may expect of it and of each other.
func TestBindings(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 90})
	for _, c := range []struct {
		name string
		test func(*testing.T, server)
	}{
		{"CreateInPublic", testCreateInPublic},
		{"ShareWhatTheyMake", testShare},
		{"ShareWhatWasMadeBefore", testShareEarlier},
		{"ComeBackToOwner", testComeBack},
		{"UnbindLeavesNothing", testUnbindLeavesNothing},
		{"UnbindEndsSessions", testUnbindEndsSessions},
		{"RebindForgetsSettings", testRebind},
		{"KeepsItsOwnSettings", testOwnSettings},
		{"SeeAndEndSessions", testSessions},
		{"KeepOnlyVerifiers", testVerifiers},
		{"Refusals", testRefusals},
		{"OtherDatabases", testOtherDatabases},
		{"NoPathOfTheServer", testPaths},
		{"TLS", testTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, s)
		})
	}
}

// Since PostgreSQL 15 a right to the database is none to schema public.
func testCreateInPublic(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	c.do(t, `CREATE TABLE in_public (n int)`, `DROP TABLE public.in_public`, `CREATE TEMPORARY TABLE gone (n int)`,
		`CREATE SCHEMA named`, `DROP SCHEMA named`)
}

// kinds of what a binding can make, how another one uses, changes and drops it.
var kinds = []struct{ kind, make, use, change, drop string }{
	{"table", `CREATE TABLE $name (n int)`, `INSERT INTO $name VALUES (1)`,
		`ALTER TABLE $name ADD m int`, `DROP TABLE $name`},
	{"partitioned table", `CREATE TABLE $name (n int) PARTITION BY LIST (n)`, `SELECT n FROM $name`,
		`CREATE TABLE $name_p PARTITION OF $name DEFAULT`, `DROP TABLE $name`},
	{"table as", `CREATE TABLE $name AS SELECT 1 AS n`, `UPDATE $name SET n = 2`,
		`CREATE INDEX ON $name (n)`, `DROP TABLE $name`},
	{"view", `CREATE VIEW $name AS SELECT 1 AS n`, `SELECT n FROM $name`,
		`CREATE OR REPLACE VIEW $name AS SELECT 2 AS n`, `DROP VIEW $name`},
	{"materialized view", `CREATE MATERIALIZED VIEW $name AS SELECT 1 AS n`, `SELECT n FROM $name`,
		`REFRESH MATERIALIZED VIEW $name`, `DROP MATERIALIZED VIEW $name`},
	{"sequence", `CREATE SEQUENCE $name`, `SELECT nextval('$name')`, `ALTER SEQUENCE $name RESTART`,
		`DROP SEQUENCE $name`},
	{"function", `CREATE FUNCTION $name() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `SELECT $name()`,
		`ALTER FUNCTION $name() STABLE`, `DROP FUNCTION $name()`},
	{"type", `CREATE TYPE $name AS ENUM ('a')`, `SELECT 'a'::$name`, `ALTER TYPE $name ADD VALUE 'b'`, `DROP TYPE $name`},
	{"schema", `CREATE SCHEMA $name CREATE TABLE t (n int)`, `SELECT n FROM $name.t`, `CREATE TABLE $name.u ()`,
		`DROP SCHEMA $name CASCADE`},
	{"publication", `CREATE PUBLICATION $name`, `SELECT 1`, `ALTER PUBLICATION $name SET (publish = 'insert')`,
		`DROP PUBLICATION $name`},
	{"large object", `DO $$ BEGIN PERFORM lo_from_bytea($number, 'x'); END $$`, `SELECT lo_get($number)`,
		`SELECT lo_put($number, 0, 'y')`, `SELECT lo_unlink($number)`},
}

// fill gives the object of the i-th kind a name and a number of its own.
func fill(sql, prefix string, i int) string {
	number := fmt.Sprint(70000 + 100*len(prefix) + i)
	return strings.NewReplacer("$name", fmt.Sprint(prefix, i), "$number", number).Replace(sql)
}

func testShare(t *testing.T, s server) {
	a, b := s.bind(t).connect(t), s.bind(t).connect(t)
	for i, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			a.do(t, fill(k.make, "now", i))
			b.do(t, fill(k.use, "now", i), fill(k.change, "now", i))
			a.do(t, fill(k.use, "now", i))
			b.do(t, fill(k.drop, "now", i))
		})
	}
}

// What a binding made that is gone belongs to those that come later.
func testShareEarlier(t *testing.T, s server) {
	maker := s.bind(t)
	c := maker.connect(t)
	for i, k := range kinds {
		c.do(t, fill(k.make, "before", i))
	}
	maker.unbind(t)
	heir := s.bind(t).connect(t)
	for i, k := range kinds {
		t.Run(k.kind, func(t *testing.T) {
			heir.do(t, fill(k.use, "before", i), fill(k.change, "before", i), fill(k.drop, "before", i))
		})
	}
}

// Poolers and mappers reset sessions that they hand on.
func testComeBack(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	c.want(t, `current_user`, "owner")
	for _, reset := range []string{`DISCARD ALL`, `RESET ALL`, `RESET ROLE`, `RESET SESSION AUTHORIZATION; RESET ROLE`} {
		c.do(t, reset)
		c.want(t, `current_user`, "owner")
	}
	for _, reset := range []string{`DISCARD ALL`, `RESET ROLE`} {
		c.do(t, `SET ROLE NONE`, reset)
		c.want(t, `current_user`, "owner")
	}
}

// A binding can be ended whatever hangs on it.
func testUnbindLeavesNothing(t *testing.T, s server) {
	a, b := s.bind(t), s.bind(t)
	own, other := a.connect(t), b.connect(t)
	own.do(t, `CREATE TABLE guarded (n int)`, `ALTER TABLE guarded ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY named ON guarded TO `+a.name+`, `+b.name+` USING (true)`,
		`CREATE POLICY sole ON guarded TO `+a.name+` USING (true)`)
	other.do(t, `GRANT SELECT, INSERT ON guarded TO `+a.name+` WITH GRANT OPTION`,
		`GRANT CREATE, USAGE ON SCHEMA public TO `+a.name,
		`CREATE SCHEMA apart`, `ALTER DEFAULT PRIVILEGES IN SCHEMA apart GRANT SELECT ON TABLES TO `+a.name) // not for what other tests make
	own.do(t, `SET ROLE NONE`, `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO `+b.name,
		`GRANT SELECT ON guarded TO `+b.name,
		`CREATE TABLE alone (n int)`)
	a.unbind(t)
	other.do(t, `INSERT INTO alone VALUES (1)`, `DROP TABLE alone`, `DROP TABLE guarded`, `DROP SCHEMA apart`,
		`ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM `+b.name)
	s.admin(t).want(t, `SELECT count(*) FROM pg_roles WHERE rolname = '`+a.name+`'`, "0")
}

// A session that holds a lock, and one that waits for it, end with their binding.
func testUnbindEndsSessions(t *testing.T, s server) {
	b := s.bind(t)
	holds, waits := b.connect(t), b.connect(t)
	holds.do(t, `CREATE TABLE held (n int)`, `BEGIN`, `LOCK TABLE held`)
	ended := make(chan error, 1)
	go func() {
		_, err := waits.Exec(t.Context(), `LOCK TABLE held`)
		ended <- err
	}()
	b.unbind(t)
	if err := <-ended; err == nil {
		t.Error("a statement of a binding that is gone succeeds")
	}
	if _, err := holds.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("a session of a binding that is gone goes on")
	}
	s.bind(t).connect(t).do(t, `DROP TABLE held`)
}

// A binding may spoil its own settings; binding again puts them right.
func testRebind(t *testing.T, s server) {
	b := s.bind(t)
	b.connect(t).do(t, `SET ROLE NONE`, `ALTER ROLE `+b.name+` IN DATABASE main SET role = 'none'`,
		`ALTER ROLE `+b.name+` IN DATABASE main SET default_transaction_read_only = on`,
		`ALTER ROLE `+b.name+` SET search_path = nowhere`,
		`ALTER ROLE `+b.name+` PASSWORD 'changed'`)
	c := s.rebind(t, b).connect(t)
	c.want(t, `current_user`, "owner")
	c.do(t, `CREATE TABLE after_rebind (n int)`, `DROP TABLE after_rebind`)
}

// What a role sets for itself holds for its sessions until it is unbound, and for no others. It is no way around owner.
func testOwnSettings(t *testing.T, s server) {
	b, other := s.bind(t), s.bind(t)
	b.connect(t).do(t, `SET ROLE NONE`, `ALTER ROLE `+b.name+` SET search_path = elsewhere, public`,
		`ALTER ROLE CURRENT_USER SET timezone = 'Europe/London'`, `ALTER ROLE CURRENT_USER SET statement_timeout = '70s'`,
		`ALTER ROLE CURRENT_USER IN DATABASE main SET default_transaction_isolation = 'repeatable read'`)
	s.configure(t)
	s.tend(t, "")
	const own = `concat_ws(' ', current_setting('search_path'), current_setting('timezone'), ` +
		`current_setting('statement_timeout'), current_setting('default_transaction_isolation'), current_user)`
	b.connect(t).want(t, own, "elsewhere, public Europe/London 70s repeatable read owner")
	const usual = `"$user", public UTC 0 read committed owner`
	other.connect(t).want(t, own, usual)
	b.unbind(t)
	s.rebind(t, b).connect(t).want(t, own, usual)
}

// Being owner must not keep a binding from looking after its own sessions.
func testSessions(t *testing.T, s server) {
	b := s.bind(t)
	one, other := b.connect(t), b.connect(t)
	pid := other.PgConn().PID()
	one.want(t,
		fmt.Sprintf(`SELECT query <> '<insufficient privilege>' FROM pg_stat_activity WHERE pid = %d`, pid), "true")
	one.want(t, fmt.Sprintf(`SELECT pg_terminate_backend(%d, 5000)`, pid), "true")
	if _, err := other.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("the session goes on")
	}
	admin := s.admin(t)
	one.refused(t, fmt.Sprintf(`SELECT pg_terminate_backend(%d)`, admin.PgConn().PID()), "42501")
}

func testVerifiers(t *testing.T, s server) {
	b := s.bind(t)
	s.admin(t).want(t,
		`SELECT rolpassword LIKE 'SCRAM-SHA-256$4096:%' FROM pg_authid WHERE rolname = '`+b.name+`'`, "true")
	b.connect(t) // and it is the right one
	s.admin(t).want(t,
		`SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR rolinherit FROM pg_roles WHERE rolname = '`+b.name+`'`, "false")
}

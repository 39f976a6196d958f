package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
)

const (
	denied   = "42501" // insufficient_privilege
	readOnly = "25006" // read_only_sql_transaction
)

// refusals are what no binding may do.
var refusals = []string{
	`CREATE ROLE intruder`, `CREATE USER intruder PASSWORD 'x'`, `CREATE DATABASE intruder`,
	`CREATE TABLESPACE intruder LOCATION '/tmp'`,
	`ALTER ROLE $me SUPERUSER`, `ALTER ROLE $me CREATEROLE`, `ALTER ROLE $me CREATEDB`, `ALTER ROLE $me REPLICATION`,
	`ALTER ROLE $me BYPASSRLS`,
	`ALTER ROLE owner LOGIN PASSWORD 'x'`, `ALTER ROLE owner SUPERUSER`, `ALTER ROLE ALL SET search_path = evil`,
	`ALTER ROLE backstay PASSWORD 'x'`, `ALTER ROLE backstay SET search_path = evil`,
	`DROP ROLE backstay`, `DROP ROLE owner`,
	`ALTER ROLE $other PASSWORD 'x'`, `ALTER ROLE $other SET search_path = evil`, `DROP ROLE $other`,
	`GRANT owner TO $other WITH ADMIN OPTION`, `GRANT backstay TO $me`,
	`GRANT pg_read_server_files TO $me`, `GRANT pg_execute_server_program TO owner`, `REVOKE owner FROM $other`,
	`SET ROLE backstay`, `SET ROLE pg_read_server_files`, `SET ROLE $other`, `SET SESSION AUTHORIZATION backstay`,
	`SET SESSION AUTHORIZATION $other`,
	`SELECT pg_read_file('PG_VERSION')`, `SELECT pg_read_binary_file('server.key')`, `SELECT pg_ls_dir('.')`,
	`SELECT pg_stat_file('PG_VERSION')`,
	`SELECT lo_import('/etc/passwd')`, `SELECT lo_export(1, '/tmp/x')`, `SELECT * FROM pg_hba_file_rules`,
	`SELECT * FROM pg_authid`, `SELECT * FROM pg_shadow`,
	`CREATE TEMPORARY TABLE IF NOT EXISTS t (x text); COPY t FROM '/etc/passwd'`, `COPY (SELECT 1) TO '/tmp/x'`,
	`COPY (SELECT 1) TO PROGRAM 'cat'`,
	`CREATE TEMPORARY TABLE IF NOT EXISTS t (x text); COPY t FROM PROGRAM 'id'`,
	`ALTER SYSTEM SET work_mem = '1GB'`, `ALTER SYSTEM RESET ALL`, `SELECT pg_reload_conf()`,
	`SELECT pg_rotate_logfile()`, `SELECT pg_switch_wal()`,
	`SELECT pg_create_physical_replication_slot('s')`,
	`SELECT pg_create_logical_replication_slot('s', 'test_decoding')`, `CHECKPOINT`,
	`ALTER DATABASE main SET search_path = evil`, `ALTER DATABASE main RENAME TO evil`,
	`ALTER DATABASE main OWNER TO owner`, `ALTER DATABASE main CONNECTION LIMIT 1`,
	`DROP DATABASE main`, `DROP DATABASE template0`, `GRANT CONNECT ON DATABASE template0 TO owner`,
	`CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION pg_catalog."CREATE EXTENSION"()`,
	`DROP EVENT TRIGGER backstay_before_extension`, `DROP EVENT TRIGGER backstay_after_extension`,
	`ALTER EVENT TRIGGER backstay_before_extension DISABLE`,
	`ALTER EVENT TRIGGER backstay_after_extension OWNER TO owner`, `DROP FUNCTION pg_catalog.backstay_before_extension()`,
	`CREATE OR REPLACE FUNCTION pg_catalog.backstay_before_extension() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`,
	`ALTER FUNCTION pg_catalog."CREATE EXTENSION"() RESET ALL`, `DROP EXTENSION plpgsql CASCADE`,
	`ALTER EXTENSION plpgsql DROP FUNCTION pg_catalog.backstay_before_extension()`,
	`CREATE FUNCTION pg_catalog.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `CREATE TABLE pg_catalog.evil (n int)`,
	`CREATE FUNCTION evil() RETURNS int LANGUAGE c AS '/tmp/evil', 'evil'`,
	`CREATE FUNCTION evil(internal) RETURNS internal LANGUAGE internal AS 'boolin'`, `LOAD '/tmp/evil'`,
	`SET session_replication_role = replica`, `SET session_preload_libraries = 'evil'`,
	`SET extwlist.extensions = 'file_fdw'`, `SET allow_system_table_mods = on; CREATE TABLE pg_catalog.evil (n int)`,
	`SET log_statement = 'all'`, `CREATE PUBLICATION everything FOR ALL TABLES`,
	`CREATE SUBSCRIPTION s CONNECTION 'host=localhost' PUBLICATION p`,
	`CREATE FOREIGN DATA WRAPPER evil`, `CREATE EXTENSION file_fdw`, `CREATE EXTENSION postgres_fdw`,
	`CREATE EXTENSION dblink`, `CREATE EXTENSION adminpack`,
	`CREATE CAST (int AS text) WITH INOUT AS IMPLICIT`,
	`CREATE OPERATOR CLASS evil DEFAULT FOR TYPE int USING btree AS STORAGE int`,
	`UPDATE pg_database SET datdba = 0`,
	`INSERT INTO pg_auth_members SELECT 10, oid, 10, true FROM pg_roles WHERE rolname = '$me'`,
	`DELETE FROM pg_event_trigger`,
	`ALTER TABLE pg_authid OWNER TO owner`, `ALTER SCHEMA public OWNER TO backstay`,
	`REASSIGN OWNED BY owner TO backstay`,
}

func testRefusals(t *testing.T, s server) {
	b, other := s.bind(t), s.bind(t)
	c := b.connect(t)
	for _, sql := range refusals {
		sql = strings.NewReplacer("$me", b.name, "$other", other.name).Replace(sql)
		c.refused(t, sql, denied)
		c.do(t, `SET ROLE NONE`) // and by itself it may do less
		if _, err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: succeeds outside owner", sql)
		}
		c.do(t, `DISCARD ALL`)
	}
}

// There is one database, and everything else is refused before a password is asked for.
func testOtherDatabases(t *testing.T, s server) {
	b := s.bind(t)
	for _, name := range []string{"template0", "template1", "postgres", "replication"} {
		c := backstay.Credentials{"host": b.credentials["host"], "ca_certificate": b.credentials["ca_certificate"],
			"uri": strings.Replace(fmt.Sprint(b.credentials["uri"]), "/main", "/"+name, 1)}
		conn, err := dial(t.Context(), c)
		if err == nil {
			conn.Close(t.Context())
		}
		if stateOf(err) != "28000" {
			t.Errorf("database %s: got %v, want no rule that lets in", name, err)
		}
	}
	for _, name := range []string{"backstay", "owner"} {
		c := backstay.Credentials{"host": b.credentials["host"], "ca_certificate": b.credentials["ca_certificate"],
			"uri": strings.Replace(fmt.Sprint(b.credentials["uri"]), b.name, name, 1)}
		conn, err := dial(t.Context(), c)
		if err == nil {
			conn.Close(t.Context())
			t.Errorf("user %s is let in over the network", name)
		}
	}
}

// Nothing is said in plain text, and nobody else can pass for the server.
func testTLS(t *testing.T, s server) {
	b := s.bind(t)
	mine := fmt.Sprint(b.credentials["ca_certificate"])
	stranger := enginetest.NewNode(t, postgres.Engine{}).TLS.Authority
	for _, tc := range []struct{ name, sslmode, authority, says string }{
		{"verified", "verify-full", mine, "t\n"},
		{"plain text", "disable", mine, `pg_hba.conf rejects connection`},
		{"another authority", "verify-full", stranger, `certificate verify failed`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			said, err := b.run(t, tc.sslmode, tc.authority, "psql", "-XAtc",
				"SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
			if (err == nil) != (tc.name == "verified") || !strings.Contains(said, tc.says) {
				t.Errorf("psql said %q (%v), want %q", said, err, tc.says)
			}
		})
	}
}

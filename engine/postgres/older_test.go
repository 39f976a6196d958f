package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/postgres"
)

// withoutReaders makes an instance what they were before there were readers.
const withoutReaders = `DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT 'EVENT TRIGGER ' || evtname FROM pg_event_trigger UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc WHERE proname ~ '^backstay_' LOOP
		EXECUTE format('ALTER EXTENSION plpgsql DROP %s; DROP %1$s', name);
	END LOOP;
	ALTER SCHEMA public OWNER TO owner;
	DROP ROLE "public-owner";
	FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE proname ~ '^(lo_(creat|create|from_bytea|put|truncate|truncate64|unlink)|lowrite)$' LOOP
		EXECUTE 'GRANT EXECUTE ON FUNCTION ' || name || ' TO PUBLIC; REVOKE EXECUTE ON FUNCTION ' || name || ' FROM owner';
		DELETE FROM pg_init_privs WHERE objoid = name::regprocedure;
	END LOOP;
	DROP OWNED BY reader;
	DROP ROLE reader;
END
$$`

// TestOlderInstance: one that is there already is brought up to date when a keeper that knows readers finds
// it, started or running, and with tenants at work.
func TestOlderInstance(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 50})
	old := s.bind(t)
	s.admin(t).do(t, withoutReaders)
	rules := filepath.Join(s.DataDir, "pg_hba.conf")
	text, err := os.ReadFile(rules)
	if err == nil {
		err = os.WriteFile(rules, []byte(strings.ReplaceAll(string(text), ",+reader", "")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.admin(t).do(t, `SELECT pg_reload_conf()`)
	w, busy := old.connect(t), old.connect(t)
	w.do(t, tenant...)
	w.do(t, `CREATE FUNCTION told() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 2'`)
	busy.do(t, `BEGIN`, `CREATE TABLE unfinished (n int)`)
	for range 2 {
		if _, err := (postgres.Engine{}).Reload(t.Context(), s.Node); err != nil { // its rules of access too
			t.Fatal(err)
		}
		w.do(t, `GRANT EXECUTE ON FUNCTION told() TO PUBLIC`) // by those who know of readers
	}
	busy.do(t, `COMMIT`, `DROP TABLE unfinished`)
	s.rebind(t, old)
	b := s.bindReadOnly(t)
	b.connect(t).want(t, `SELECT told()`, "2")
	testReads(t, b)
	testChangesNothing(t, b, w)
	testOwnRole(t, s)
	testDumpReadOnly(t, s)
	w.do(t, `CREATE EXTENSION postgis`, `CREATE EXTENSION hstore`)
	w.refused(t, `CREATE EXTENSION dblink`, denied)
}

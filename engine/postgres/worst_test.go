package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// worst is what a tenant may do to its database that could be in the way of who administers it, all in its rights.
var worst = []string{
	`CREATE FUNCTION public.round(double precision, int) RETURNS numeric LANGUAGE sql AS 'SELECT 1::numeric'`,
	`CREATE FUNCTION public.obj_description(int) RETURNS text LANGUAGE sql AS 'SELECT ''none'''`,
	`CREATE FUNCTION public.pg_terminate_backend(bigint) RETURNS bool LANGUAGE sql AS 'SELECT false'`,
	`CREATE FUNCTION public.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'`,
	`CREATE FUNCTION public.differ(name, text) RETURNS bool LANGUAGE sql AS 'SELECT false'`,
	`CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.differ)`,
	`CREATE OPERATOR public.<> (LEFTARG = name, RIGHTARG = text, FUNCTION = public.differ)`,
	`CREATE TYPE public.text AS (n int)`, `CREATE TYPE public.oid AS ENUM ('a')`,
	`CREATE DOMAIN public.regrole AS int`,
	`CREATE FUNCTION public.as_text(public.oid) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT ''a'''`,
	`CREATE CAST (public.oid AS pg_catalog.text) WITH FUNCTION public.as_text(public.oid) AS IMPLICIT`,
	`CREATE TABLE public.pg_roles (rolname text)`, `CREATE TABLE public.pg_extension (extname text)`,
	`CREATE VIEW public.pg_event_trigger AS SELECT 1 AS oid`,
	"CREATE SCHEMA \"odd \"\"\n'\"", "CREATE TABLE \"odd \"\"\n'\".\"$1;--\" (\"%I\" int)", `CREATE SCHEMA main`,
	`CREATE SCHEMA "public-owner"`, `CREATE TABLE public."public-owner" (n int)`,
	"COMMENT ON SCHEMA public IS 'x'", `GRANT ALL ON SCHEMA public TO PUBLIC`,
	`CREATE TABLE guarded (n int)`, `ALTER TABLE guarded ENABLE ROW LEVEL SECURITY`,
	`CREATE POLICY mine ON guarded TO $me USING (true)`, `GRANT SELECT ON guarded TO $me`,
	`ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO $me`, `GRANT CREATE ON SCHEMA public TO $me`,
	`CREATE FUNCTION loops() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP
		BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN OTHERS OR query_canceled THEN END;
	END LOOP; END $$`,
	`DO $$ BEGIN FOR i IN 1..1000 LOOP
		EXECUTE format('CREATE FUNCTION many_%s() RETURNS int LANGUAGE sql AS ''SELECT 1''', i);
	END LOOP; END $$`,
	`SET ROLE NONE`, `CREATE TABLE lonely (n int)`, `ALTER ROLE $me SET search_path = public, pg_catalog`,
	`ALTER ROLE $me IN DATABASE main SET statement_timeout = 1`, `ALTER ROLE $me RESET ALL`,
	`ALTER ROLE $me IN DATABASE main RESET statement_timeout`, `RESET ROLE`,
}

// holds are what each of a tenant's sessions leaves behind in a transaction that it does not end.
var holds = []string{
	`GRANT CONNECT ON DATABASE main TO owner`, `GRANT EXECUTE ON FUNCTION lo_creat(int), lo_unlink(oid) TO owner`,
	`GRANT USAGE ON SCHEMA public TO owner`, `COMMENT ON SCHEMA public IS 'y'`,
	`SET LOCAL ROLE NONE; ALTER ROLE CURRENT_USER PASSWORD 'changed'`,
	`SET LOCAL ROLE NONE; ALTER ROLE CURRENT_USER SET work_mem = '64kB'`,
	`SELECT pg_advisory_lock(7089056601607528825)`, `SELECT pg_advisory_xact_lock(1650549611, 1937006969)`,
	`SELECT pg_advisory_lock_shared(0), pg_advisory_lock(0, 0)`,
	`LOCK TABLE guarded, lonely, public.pg_roles IN ACCESS EXCLUSIVE MODE`,
	`LOCK TABLE pg_proc, pg_extension, pg_class, pg_namespace, pg_database, pg_event_trigger IN ACCESS SHARE MODE`,
	`CREATE FUNCTION public.upper(int) RETURNS text LANGUAGE sql AS 'SELECT ''X'''`,
	`CREATE TABLE unfinished (n int)`, `DROP TABLE guarded`, `ALTER TABLE guarded ADD m int`,
	`DECLARE c CURSOR WITH HOLD FOR SELECT * FROM pg_class, pg_proc`,
	`CREATE TEMPORARY TABLE pg_roles (rolname text)`, `LISTEN news`, `SELECT loops()`,
}

func makeWorst(t *testing.T, n engine.Node, credentials backstay.Credentials) {
	t.Helper()
	b := binding{server{n}, fmt.Sprint(credentials["username"]), credentials}
	c := b.connect(t)
	for _, sql := range worst {
		c.do(t, strings.ReplaceAll(sql, "$me", b.name))
	}
}

// holdWorst leaves a session of the binding with each of what can be held. Some wait for others.
func holdWorst(t *testing.T, n engine.Node, credentials backstay.Credentials) {
	t.Helper()
	b := binding{server{n}, fmt.Sprint(credentials["username"]), credentials}
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	for _, sql := range holds {
		c := b.connect(t)
		c.do(t, `BEGIN`)
		sessions.Go(func() { c.Exec(ctx, sql) }) // some wait as long as they live
	}
	t.Cleanup(func() { cancel(); sessions.Wait() }) // before they are closed
	admin, beyond := b.admin(t), `SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query <> 'BEGIN'`
	for begun := 0; begun < len(holds); time.Sleep(time.Millisecond) {
		err := admin.QueryRow(ctx, beyond, b.name).Scan(&begun)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTenantsDoTheirWorst, and a newer version finds the instance, or it is given other settings.
func TestTenantsDoTheirWorst(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 2*len(holds) + 10})
	s.Settings = json.RawMessage(`{"enable_extensions": ["uuid-ossp"]}`)
	s.configure(t)
	b := s.bind(t)
	makeWorst(t, s.Node, b.credentials)
	s.admin(t).do(t, `COMMENT ON EVENT TRIGGER backstay_read_only IS 'of another version'`)
	holdWorst(t, s.Node, b.credentials)
	within(t, 20*time.Second, "bring-up by another version", func() { s.configure(t) })
	b.unbind(t)
	s.testSettings(t)
}

// testSettings: what is refused for what tenants have made is refused to who asks for it, and keeps nothing from
// serving once it was there.
func (s server) testSettings(t *testing.T) {
	c := s.bind(t).connect(t)
	s.Settings = json.RawMessage(`{"enable_extensions": ["postgis"]}`)
	err := postgres.Engine{}.Configure(t.Context(), s.Node)
	sentence := backstay.SentenceOf(err)
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(sentence, "with the name of a built-in one") {
		t.Errorf("an extension that cannot be created: got %v (%q)", err, sentence)
	}
	c.do(t, `DROP EXTENSION "uuid-ossp"`)
	s.Settings = json.RawMessage(`{"enable_extensions": ["uuid-ossp"]}`)
	s.configure(t)
}

func (s server) configure(t *testing.T) {
	t.Helper()
	if err := (postgres.Engine{}).Configure(t.Context(), s.Node); err != nil {
		t.Errorf("configure: %v", err)
	}
}

// within wants the work to be done in time.
func within(t *testing.T, limit time.Duration, what string, work func()) {
	t.Helper()
	began := time.Now()
	work()
	if took := time.Since(began); took > limit {
		t.Errorf("%s takes %v", what, took)
	}
}

// hammers are what a tenant's sessions can do again and again to be in the way of roles.
var hammers = []string{
	`SELECT pg_advisory_lock(7089056601607528825), pg_sleep(0.05)`,
	`SELECT pg_advisory_xact_lock(1650549611, 1937006969), pg_sleep(0.05)`,
	`GRANT CONNECT ON DATABASE main TO owner`,
	`BEGIN; GRANT CONNECT, TEMPORARY ON DATABASE main TO owner; SELECT pg_sleep(0.2); COMMIT`,
	`SET ROLE NONE; ALTER ROLE CURRENT_USER SET work_mem = '64kB'; RESET ROLE`,
	`BEGIN; SET LOCAL ROLE NONE; ALTER ROLE CURRENT_USER SET work_mem = '64kB'; SELECT pg_sleep(0.2); COMMIT`,
	`BEGIN; LOCK TABLE guarded; SELECT pg_sleep(0.2); COMMIT`, `GRANT USAGE ON SCHEMA public TO owner`,
}

// hammer keeps sessions of the binding at it, which come again when they are turned out, until the function that it
// returns is called.
func (b binding) hammer(t *testing.T, sessions int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			for ctx.Err() == nil {
				conn, err := dial(ctx, b.credentials)
				if err != nil {
					continue
				}
				for ; !conn.IsClosed() && ctx.Err() == nil; i++ {
					conn.Exec(ctx, hammers[i%len(hammers)]) // two at once is an error to one of them
				}
				conn.Close(context.Background())
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(stop)
	return stop
}

// Whoever is to be turned out cannot hold that up, and others can hold up neither that nor bindings.
func TestSessionsInALoop(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 40})
	b, other := s.bind(t), s.bind(t)
	b.connect(t).do(t, `CREATE TABLE guarded (n int)`, `ALTER TABLE guarded ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY p ON guarded TO `+b.name+` USING (true)`)
	b.hammer(t, 12)
	stop := other.hammer(t, 4)
	time.Sleep(200 * time.Millisecond)
	for range 3 {
		within(t, 20*time.Second, "binding and unbinding", func() { s.bind(t).unbind(t) })
	}
	within(t, 20*time.Second, "unbinding", func() { b.unbind(t) })
	if conn, err := dial(t.Context(), b.credentials); err == nil {
		conn.Close(t.Context())
		t.Error("a binding that is gone is let in")
	}
	s.admin(t).want(t, fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'`, b.name), "0")
	within(t, 20*time.Second, "unbinding the other", func() { other.unbind(t) })
	stop()
}

// However much a role owns, and is named in, it can be dropped: the server has room for some thousands of locks.
func TestUnbindWhatOwnsMuch(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 5})
	b, other := s.bind(t), s.bind(t)
	c := b.connect(t)
	c.do(t, `GRANT CREATE, USAGE ON SCHEMA public TO `+b.name)
	for part := range 3 {
		c.do(t, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..400 LOOP
			EXECUTE format('CREATE TABLE guarded_%%s (n int)', %[1]d000 + i);
			EXECUTE format('CREATE POLICY sole ON guarded_%%s TO %[2]s USING (true)', %[1]d000 + i);
			EXECUTE format('CREATE POLICY common ON guarded_%%s TO %[2]s, %[3]s USING (true)', %[1]d000 + i);
		END LOOP; END $$`, part, b.name, other.name), `SET ROLE NONE`, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..400 LOOP
			EXECUTE format('CREATE TABLE lonely_%%s (n serial)', %[1]d000 + i);
		END LOOP; END $$`, part), `RESET ROLE`)
	}
	c.do(t, `SET ROLE NONE`, `CREATE VIEW "odd ""one" AS SELECT 1`, `CREATE TYPE mood AS ENUM ('good')`)
	b.unbind(t)
	admin := s.admin(t)
	admin.want(t, `SELECT count(*) FROM pg_roles WHERE rolname = '`+b.name+`'`, "0")
	admin.want(t, `SELECT count(*) FROM pg_class WHERE relowner = 'owner'::regrole AND relkind = 'r'`, "2400")
	admin.want(t, `SELECT string_agg(DISTINCT polname || array_to_string(polroles::regrole[], ' '), ' ') FROM pg_policy`,
		"common"+other.name)
}

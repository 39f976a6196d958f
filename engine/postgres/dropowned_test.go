package postgres_test

import (
	"testing"

	"github.com/backstay/backstay"
)

// walls is all that holds tenants in their places and that they could take away with what they own.
const walls = `SELECT concat_ws(' ',
	(SELECT string_agg(evtname || evtenabled::text, ' ' ORDER BY evtname) FROM pg_event_trigger),
	(SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE proname LIKE 'backstay%'),
	(SELECT md5(string_agg(proacl::text, ' ' ORDER BY oid)) FROM pg_proc WHERE proowner = 10),
	(SELECT string_agg(datacl::text, ' ') FROM pg_database),
	(SELECT string_agg(m::text, ' ' ORDER BY m::text) FROM pg_auth_members m),
	(SELECT string_agg(s::text, ' ' ORDER BY s::text) FROM pg_db_role_setting s),
	(SELECT string_agg(nspname || nspowner::regrole || coalesce(nspacl, acldefault('n', nspowner))::text, ' '
		ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'),
	(SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension))`

// TestDropOwned: applications empty their database by dropping all that they own. Schema public and what walls
// them in are not theirs, and what is made afterwards is as before.
func TestDropOwned(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20})
	reader, other := s.bindReadOnly(t), s.bind(t)
	b := s.bind(t)
	c, admin := b.connect(t), s.admin(t)
	c.do(t, `CREATE EXTENSION "uuid-ossp"`)
	var before string
	if err := admin.QueryRow(t.Context(), walls).Scan(&before); err != nil {
		t.Fatal(err)
	}
	for _, drop := range [][]string{
		{`DROP OWNED BY CURRENT_USER CASCADE`},
		{`DROP OWNED BY CURRENT_USER`}, // an extension in public does not stop it
		{`DROP OWNED BY owner CASCADE`},
		{`SET ROLE NONE`, `DROP OWNED BY CURRENT_USER CASCADE`, `RESET ROLE`, `DROP TABLE t`,
			`DROP SCHEMA apart CASCADE`, `ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC`},
		{`ALTER SCHEMA public OWNER TO owner`, `DROP OWNED BY CURRENT_USER CASCADE`},
		{`REASSIGN OWNED BY "public-owner" TO owner`, `DROP OWNED BY CURRENT_USER CASCADE`},
		{`BEGIN; DROP OWNED BY CURRENT_USER CASCADE; CREATE TABLE t (n int); COMMIT`, `DROP TABLE t`},
		{`DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`, `DROP OWNED BY CURRENT_USER CASCADE`,
			`CREATE EXTENSION "uuid-ossp"`},
	} {
		c.do(t, `CREATE TABLE t (n int)`, `CREATE SCHEMA apart CREATE TABLE t (n int)`,
			`GRANT SELECT ON t TO `+other.name, `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`)
		c.do(t, drop...)
		c.want(t, `SELECT count(*) FROM pg_class WHERE relowner = 'owner'::regrole`, "0")
		var after string
		if err := admin.QueryRow(t.Context(), walls).Scan(&after); err != nil || after != before {
			t.Errorf("%v: there was %s and is %s (%v)", drop, before, after, err)
		}
		c.do(t, `CREATE TABLE after (id uuid DEFAULT uuid_generate_v4())`, `INSERT INTO after DEFAULT VALUES`,
			`CREATE TEMPORARY TABLE mine (n int)`, `DROP TABLE mine`)
		other.connect(t).do(t, `ALTER TABLE after ADD n int DEFAULT 1`)
		reader.connect(t).want(t, `SELECT n FROM after`, "1")
		c.do(t, `DROP TABLE after`)
	}
	b.unbind(t)
	s.bind(t).connect(t).do(t, `CREATE TABLE t (n int)`, `DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`,
		`CREATE TABLE t (n int)`)
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
)

// ownRoleRefusals: of its own role and those that it is a member of, it may not change these.
var ownRoleRefusals = []string{
	`ALTER ROLE $me VALID UNTIL '2001-01-01'`, `ALTER ROLE $me CONNECTION LIMIT 0`, `ALTER ROLE $me NOLOGIN`,
	`ALTER ROLE $me NOINHERIT`, `ALTER ROLE $me RENAME TO other`, `ALTER GROUP reader DROP USER $me`,
	`REVOKE reader FROM $me`,
	`ALTER ROLE reader VALID UNTIL '2001-01-01'`, `ALTER ROLE reader LOGIN PASSWORD 'x'`,
	`ALTER ROLE reader RENAME TO other`, `ALTER ROLE pg_read_all_data SET work_mem = '64kB'`,
	`COMMENT ON ROLE $me IS 'x'`,
	`ALTER ROLE "$me-kept" PASSWORD 'x'`, `ALTER ROLE "$me-kept" SET work_mem = '64kB'`, `SET ROLE "$me-kept"`,
	`DROP ROLE "$me-kept"`, `GRANT "$me-kept" TO $me`, `ALTER ROLE ALL SET work_mem = '64kB'`,
}

// ownRoleChanges are what PostgreSQL lets every role do to itself, and to those that it can become, unless the
// transaction is read-only: it takes one who asks for another kind.
var ownRoleChanges = []string{
	`ALTER ROLE $me PASSWORD 'changed'`, `ALTER ROLE CURRENT_USER PASSWORD NULL`, `ALTER ROLE $me RESET ALL`,
	`ALTER ROLE $me SET default_transaction_read_only = off`, `ALTER ROLE $me SET search_path = nowhere`,
	`ALTER ROLE $me SET role = reader`, `ALTER ROLE $me IN DATABASE main SET statement_timeout = 1`,
	`ALTER ROLE $me IN DATABASE template0 SET work_mem = '64kB'`,
	`ALTER ROLE $me SET default_transaction_read_only FROM CURRENT`,
	`SET ROLE reader; ALTER ROLE reader PASSWORD 'changed'`,
	`SET ROLE reader; ALTER ROLE reader SET search_path = nowhere`,
	`SET ROLE reader; ALTER ROLE reader IN DATABASE main SET search_path = nowhere`,
}

// roles is all that there is to know about roles.
const roles = `SELECT string_agg(a::text || coalesce((SELECT string_agg(s::text, ' ' ORDER BY s::text) FROM pg_db_role_setting s WHERE setrole = a.oid), ''), ' ' ORDER BY rolname) || (SELECT string_agg(m::text, ' ' ORDER BY m::text) FROM pg_auth_members m) FROM pg_authid a`

func (c client) roles(t *testing.T) (text string) {
	t.Helper()
	if err := c.QueryRow(t.Context(), roles).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// tend does what the keeper does every few seconds, and wants it to find what belongs to these users.
func (s server) tend(t *testing.T, last string, want ...string) (now string) {
	t.Helper()
	now, mended, err := postgres.Engine{}.Tend(t.Context(), s.Node, last)
	if err != nil || !slices.Equal(mended, want) {
		t.Fatalf("tending mends what is of %v (%v), want %v", mended, err, want)
	}
	return now
}

// Whatever a reader changes of itself is put back, down to the last bit.
func testOwnRole(t *testing.T, s server) {
	b := s.bindReadOnly(t)
	c, admin := b.connect(t), s.admin(t)
	before, mark := admin.roles(t), s.tend(t, "")
	named := func(sql string) string { return strings.ReplaceAll(sql, "$me", b.name) }
	for _, sql := range slices.Concat(ownRoleRefusals, ownRoleChanges) {
		if _, err := c.Exec(t.Context(), named(sql)); err == nil {
			t.Errorf("%s: succeeds", named(sql))
		}
		c.do(t, `RESET ROLE`)
	}
	if after := admin.roles(t); after != before {
		t.Errorf("roles were %s and are %s", before, after)
	}
	c.do(t, `SET default_transaction_read_only = off`)
	for _, sql := range ownRoleRefusals {
		if _, err := c.Exec(t.Context(), named(sql)); err == nil {
			t.Errorf("%s, read-write: succeeds", named(sql))
		}
		c.do(t, `RESET ROLE`)
	}
	for _, sql := range ownRoleChanges {
		c.do(t, named(sql), `RESET ROLE`)
		whose := b.name
		if strings.HasPrefix(sql, `SET ROLE reader`) {
			whose = "reader"
		}
		mark = s.tend(t, mark, whose)
		if after := admin.roles(t); after != before {
			t.Errorf("%s: roles were %s and are %s", sql, before, after)
		}
		b.connect(t).refused(t, `INSERT INTO t VALUES (2)`, readOnly)
	}
	s.tend(t, mark)
}

// One who keeps a change of itself from being undone, by leaving another unfinished, is turned out.
func testMeddlers(t *testing.T, s server) {
	for name, hold := range map[string][]string{
		"a change that is not committed":  {`BEGIN`, `ALTER ROLE $me PASSWORD 'again'`},
		"a setting that is not committed": {`BEGIN`, `ALTER ROLE $me SET work_mem = '64kB'`},
	} {
		b := s.bindReadOnly(t)
		admin := s.admin(t)
		before, mark := admin.roles(t), s.tend(t, "")
		c := b.connect(t)
		c.do(t, `SET default_transaction_read_only = off`)
		spoil := func(statements ...string) {
			for _, sql := range statements {
				c.do(t, strings.ReplaceAll(sql, "$me", b.name))
			}
		}
		spoil(`ALTER ROLE $me PASSWORD 'changed'`, `ALTER ROLE $me SET work_mem = '128kB'`)
		spoil(hold...)
		s.tend(t, mark, b.name)
		if after := admin.roles(t); after != before {
			t.Errorf("%s: roles were %s and are %s", name, before, after)
		}
		c = b.connect(t)
		c.do(t, `SET default_transaction_read_only = off`)
		spoil(hold...)
		began := time.Now()
		b.unbind(t)
		if took := time.Since(began); took > 8*time.Second { // and not when it has waited for a lock
			t.Errorf("%s: unbinding takes %v", name, took)
		}
	}
}

// One who changes itself as fast as it can does not keep it from being put back, bound again or unbound.
func testHammer(t *testing.T, s server) {
	b := s.bindReadOnly(t)
	ctx, cancel := context.WithCancel(t.Context())
	var hammers sync.WaitGroup
	for range 3 {
		hammers.Go(func() {
			for ctx.Err() == nil { // those who are turned out come again
				conn, err := dial(ctx, b.credentials)
				if err != nil {
					continue
				}
				sql := `SET default_transaction_read_only = off`
				for ; !conn.IsClosed() && ctx.Err() == nil; sql = `ALTER ROLE CURRENT_USER SET work_mem = '64kB'` {
					conn.Exec(ctx, sql) // two at once is an error to one of them
				}
				conn.Close(context.Background())
			}
		})
	}
	for seen := 0; seen < 5; {
		_, mended, err := postgres.Engine{}.Tend(ctx, s.Node, "")
		if err != nil {
			t.Errorf("tending fails: %v", err)
			break
		}
		seen += len(mended)
	}
	s.create(t,
		engine.User{Name: b.name, Password: backstay.Secret(fmt.Sprint(b.credentials["password"])), ReadOnly: true})
	b.unbind(t)
	cancel()
	hammers.Wait()
}

// A server that has written nothing since is not even asked, and one without readers never.
func TestTendsNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20})
	if mark := s.tend(t, ""); mark != "" {
		t.Errorf("a node without readers is to be tended again: %q", mark)
	}
	b := s.bindReadOnly(t)
	mark := s.tend(t, "")
	deaf := s
	deaf.Admin.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("it was asked") }
	if now := deaf.tend(t, mark); now != mark {
		t.Errorf("the mark of an idle node was %s and is %s", mark, now)
	}
	b.connect(t).do(t, `SET default_transaction_read_only = off`, `ALTER ROLE CURRENT_USER SET work_mem = '64kB'`)
	if _, _, err := (postgres.Engine{}).Tend(t.Context(), deaf.Node, mark); err == nil {
		t.Error("a node that has written is not asked")
	}
	b.unbind(t)
	if mark := s.tend(t, ""); mark != "" {
		t.Errorf("a node whose readers are gone is to be tended again: %q", mark)
	}
}

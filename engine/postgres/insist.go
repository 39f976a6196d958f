package postgres

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/datadir"
)

// refusing is the access rule by which a role is shut out. The rules are where it is noted who is, until the node is
// not full any more and they are written without.
func refusing(role string) string { return "hostssl all \"" + role + "\" all reject\n" }

var refusingRule = regexp.MustCompile(`(?m)^hostssl all "([a-zA-Z0-9_-]+)" all reject$`)

// refusingAll is the rule by which a closed node lets no client in.
const refusingAll = "hostssl all all all reject\n"

// shutOut says who is not let in to a full node.
type shutOut struct {
	roles     []string // that went on writing when there was no room for it, or may have
	everybody bool     // until it is known who could fill it again
}

// shutOutOf reads it from the rules. Where there are none, nobody is.
func shutOutOf(n engine.Node) (out shutOut) {
	if !n.Full {
		return out
	}
	out.everybody = n.Closed
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return out // there is no data yet
	}
	defer root.Close()
	f, err := root.Open(rulesFile)
	if err != nil {
		return out
	}
	defer f.Close()
	const most = backstay.MB
	rules, _ := io.ReadAll(io.LimitReader(f, int64(most)))
	for _, found := range refusingRule.FindAllSubmatch(rules, -1) {
		out.roles = append(out.roles, string(found[1]))
	}
	out.everybody = out.everybody || bytes.Contains(rules, []byte("\n"+refusingAll))
	return out
}

// lastSegments is room that not even deleting may take: the server ends if there is none for the next file of its log.
const lastSegments = 5 * pgserver.SegmentSize / 4

// spares tells whether there is room for deleting.
func spares(n engine.Node) bool { return engine.HasRoom(n.DataDir, lastSegments) }

// insistingSQL finds the roles that write, and do not delete, in transactions that began when the server refused that
// already: they have asked for it. $1 is false if nothing is taken for deleting. $2 is true if those that began before
// have been cancelled already.
const insistingSQL = `SELECT DISTINCT usename::text FROM pg_stat_activity
WHERE usesysid <> 10 AND state IN ('active', 'fastpath function call') AND backend_xid IS NOT NULL
    AND ($2 OR least(xact_start, query_start) >= pg_conf_load_time() + interval '1 s')
    AND NOT ($1 AND query ~* ` + deleting + `)`

// deleting matches the statements by which users make room, and those that end a transaction in which they did. What
// else such a statement may do ends where no room is left for it either.
const deleting = `'^\s*(delete|truncate|drop|vacuum|commit|end)\M'`

// writersSQL finds the roles that could have filled a node, and left no trace of it when it ended.
const writersSQL = `SELECT rolname::text FROM pg_roles r WHERE rolcanlogin AND NOT rolsuper AND NOT rolreplication
    AND NOT EXISTS (SELECT FROM pg_roles kept WHERE kept.rolname = r.rolname || '-kept')`

// refuseInsistent shuts out the roles that go on writing on a node that has no room for it, and ends their sessions,
// again and again: one may have begun before the server had read that. Of a closed node, it shuts out whoever may
// write, and lets in the others, and those who are bound later.
func refuseInsistent(ctx context.Context, conn *pgx.Conn, n engine.Node) error {
	before := shutOutOf(n)
	found, err := findInsistent(ctx, conn, n, before)
	if err != nil {
		return err
	}
	roles := sorted(slices.Concat(before.roles, found))
	if before.everybody || len(roles) > len(before.roles) {
		uid, gid := n.Account.IDs()
		rules := map[string]string{rulesFile: accessRules(n, shutOut{roles: roles})}
		if err := datadir.WriteFiles(n.DataDir, uid, gid, rules); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY($1)", roles)
	return err
}

func findInsistent(ctx context.Context, conn *pgx.Conn, n engine.Node, before shutOut) ([]string, error) {
	sql, args := insistingSQL, []any{spares(n), len(before.roles) > 0}
	if before.everybody {
		sql, args = writersSQL, nil
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

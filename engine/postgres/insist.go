package postgres

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// refusing is the access rule by which a role is shut out. The rules are where it is noted who is, until the node is
// not full any more and they are written without.
func refusing(role string) string { return "hostssl all \"" + role + "\" all reject\n" }

var refusingRule = regexp.MustCompile(`(?m)^hostssl all "([a-zA-Z0-9_-]+)" all reject$`)

// insistent are the roles of a full node that are shut out: they went on writing when there was no room for it.
func insistent(n engine.Node) (roles []string) {
	if !n.Full {
		return nil
	}
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return nil // there is no data yet
	}
	defer root.Close()
	f, err := root.Open(rulesFile)
	if err != nil {
		return nil
	}
	defer f.Close()
	const most = backstay.MB
	rules, _ := io.ReadAll(io.LimitReader(f, int64(most)))
	for _, found := range refusingRule.FindAllSubmatch(rules, -1) {
		roles = append(roles, string(found[1]))
	}
	return roles
}

// lastSegments is room that not even deleting may take: the server ends if there is none for the next file of its log.
const lastSegments = 5 * segmentSize / 4

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

// shutOut refuses the roles that go on writing on a node that has no room for it, and ends their sessions, again and
// again: one may have begun before the server had read that.
func shutOut(ctx context.Context, conn *pgx.Conn, n engine.Node) error {
	before := insistent(n)
	rows, err := conn.Query(ctx, insistingSQL, spares(n), len(before) > 0)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	roles := sorted(slices.Concat(before, found))
	if len(roles) > len(before) {
		uid, gid := n.Account.IDs()
		rules := map[string]string{rulesFile: accessRules(n, roles)}
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

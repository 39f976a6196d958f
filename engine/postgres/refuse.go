package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// fullSetting tells the administrator, whose own sessions may write, whether the server has read that others may not.
const fullSetting = "backstay.full"

// writing refuses what clients write on a full node. It is a default of transactions, so that whoever wants to delete
// can begin others.
func writing(n engine.Node) []setting {
	if !n.Full {
		return []setting{{fullSetting, "off"}}
	}
	group := []setting{{fullSetting, "on"}, {"default_transaction_read_only", "on"}}
	for _, spares := range pgserver.Sparing(n) {
		group = append(group, setting{spares.Name, spares.Value})
	}
	return group
}

// MakingRoom tells how a session may write. DELETE alone gives nothing back to the disk.
func (Engine) MakingRoom(engine.Installation) string {
	return "`SET default_transaction_read_only = off`, then TRUNCATE or DROP, or DELETE and VACUUM FULL; a binding that " +
		"fills it further so is shut out until there is room, and so are all that may write where the server has ended of " +
		"that: delete by a new one then"
}

// RefuseWrites writes the configuration, has the server read it again if it has not, and cancels statements that are
// not to go on.
func (Engine) RefuseWrites(ctx context.Context, n engine.Node, w engine.Writes) error {
	n.Full, n.Closed = w != engine.AnyWrites, false
	p, err := plan(ctx, n)
	if err != nil {
		return err
	}
	if err := p.Reconfigure(); err != nil {
		return err
	}
	asked, err := readFull(ctx, n)
	if err != nil {
		return fmt.Errorf("have the configuration read again: %w", err)
	}
	if !asked.IsZero() {
		if _, err := server(n.Installation).AwaitReload(ctx, n, asked); err != nil {
			return backstay.Wrapf(err, backstay.Unavailable, "The database does not take its new configuration.")
		}
	}
	if !n.Full {
		return nil
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		if w == engine.NoWrites || shutOutOf(n).everybody {
			if err := refuseInsistent(ctx, conn, n); err != nil {
				return err
			}
		}
		sql := interruptSQL
		if n.Replication != nil {
			sql = strings.ReplaceAll(sql, "pg_cancel_backend", "pg_terminate_backend")
		}
		_, err := conn.Exec(ctx, sql, w == engine.NoWrites, int64(pgserver.Temporary(n.Size)), spares(n))
		return err
	})
}

// readFull has the server read its configuration again, unless it knows already what the node is. It returns when it
// was asked to, by the server's clock, and zero if it was not.
func readFull(ctx context.Context, n engine.Node) (asked time.Time, err error) {
	err = withAdmin(ctx, n, func(conn *pgx.Conn) error {
		var known bool
		const look = "SELECT coalesce(current_setting($1, true), '') = $2"
		state := map[bool]string{false: "off", true: "on"}[n.Full]
		if err := conn.QueryRow(ctx, look, fullSetting, state).Scan(&known); err != nil || known {
			return err
		}
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&asked); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "SELECT pg_reload_conf()")
		return err
	})
	return asked, err
}

// interruptSQL cancels the statements of clients that write and began before the server was told to refuse that, or a
// moment later: a session takes the configuration over between two statements. $1 says that all others that write are
// cancelled too. If $3 is true, those that delete go on. Statements with temporary files of more than $2 bytes are
// cancelled in any case, for a session's limit holds from its next statement on.
//
// Where a standby is awaited, sessions are ended instead: a commit that waits and is cancelled is told to its client as
// one that was acknowledged.
const interruptSQL = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE usesysid <> 10 AND state IN ('active', 'fastpath function call') AND backend_xid IS NOT NULL
    AND ($1 OR least(xact_start, query_start) < pg_conf_load_time() + interval '1 s')
    AND NOT ($3 AND query ~* ` + deleting + `)
UNION ALL SELECT pg_cancel_backend(pid) FROM pg_stat_activity JOIN
    (SELECT substring(name FROM '^pgsql_tmp([0-9]+)')::int AS pid FROM pg_ls_tmpdir() GROUP BY 1 HAVING sum(size) > $2)
    AS large USING (pid) WHERE usesysid <> 10`

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

var _ engine.Reader = Engine{}

// CatchUp waits until the node has replayed the primary's log to its end. The roles are in it, and their ids are the
// same, but a node that replays that a role is dropped ends no session of it: that is done here.
func (Engine) CatchUp(ctx context.Context, primary, n engine.Node) error {
	if err := server(n.Installation).Replayed(ctx, primary, n); err != nil {
		return err
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error { return endStrangers(ctx, conn) })
}

// endStrangers ends the sessions of roles that cannot log in any more, and waits until they have ended. A role is shut
// out some time before it is dropped, so that one that was just being let in shows by now.
func endStrangers(ctx context.Context, conn *pgx.Conn) error {
	const end = `SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity s
    WHERE backend_type = 'client backend' AND usesysid <> 10
    AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = s.usesysid AND r.rolcanlogin)`
	for {
		var count int
		if err := conn.QueryRow(ctx, end).Scan(&count); err != nil || count == 0 {
			return err
		}
	}
}

// EndReaders does not wait until they have ended: a session ends at its next look at what it was sent.
func (Engine) EndReaders(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, pgserver.EndClients)
		return err
	})
}

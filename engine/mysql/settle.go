package mysql

import (
	"context"
	"database/sql"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Settle has the server write the changed pages of the buffer pool, as fast as the disk can, so that a shutdown has few
// left to write. MySQL can be asked to do that in builds for debugging alone: there, Settle does nothing.
func (Engine) Settle(ctx context.Context, n engine.Node) error {
	checkpoint := dialectOf(n.Installation).checkpoint
	if checkpoint == "" {
		return nil
	}
	err := withAdmin(ctx, n, func(conn *sql.Conn) error { return run(ctx, conn, checkpoint) })
	if err != nil && backstay.KindOf(err) == backstay.Internal {
		return backstay.Wrapf(err, backstay.Unavailable, "The database cannot write what it has changed to its disk.")
	}
	return err
}

package pgserver

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Settle makes two checkpoints, as fast as the disk can. The second one writes what clients have changed during the
// first one, which takes longer. A shutdown then has little left to write, and a start little to read.
func (s Server) Settle(ctx context.Context, n engine.Node) error {
	err := s.withAdmin(ctx, n, func(conn *pgx.Conn) error { return Checkpoint(ctx, conn, 2) })
	if err != nil && backstay.KindOf(err) == backstay.Internal {
		return backstay.Wrapf(err, backstay.Unavailable, "The database cannot write what it has changed to its disk.")
	}
	return err
}

package mongodb

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

var _ engine.Reader = Engine{}

// CatchUp waits until the node has replayed the primary's log to its end, in which the users are, and has the front end
// the connections of those that are gone. It is an error while no front serves there.
func (e Engine) CatchUp(ctx context.Context, primary, n engine.Node) error {
	if err := e.server(n.Installation).Replayed(ctx, primary, n); err != nil {
		return inWords(err)
	}
	return tell(ctx, n, front.EndStrangers)
}

// EndReaders ends the connections of clients, and what FerretDB has PostgreSQL do for them.
func (Engine) EndReaders(ctx context.Context, n engine.Node) error {
	if err := tell(ctx, n, front.EndAll); err != nil {
		return err
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, pgserver.EndClients+" AND usename IN ('"+front.Writer+"', '"+front.Reader+"')")
		return err
	})
}

// lookPatience is how long the front may take to look what the node is. One that does not answer sees that by itself.
const lookPatience = time.Second

// lookAnew has nobody come in by the front for whom the node follows still.
func lookAnew(ctx context.Context, n engine.Node) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	_ = front.Tell(ctx, n.RunDir, front.LookAnew)
}

func tell(ctx context.Context, n engine.Node, order string) error {
	if err := front.Tell(ctx, n.RunDir, order); err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "FerretDB does not serve yet.")
	}
	return nil
}

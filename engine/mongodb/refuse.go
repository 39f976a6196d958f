package mongodb

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

var _ engine.Refuser = Engine{}

// MakingRoom says what gives room back to the disk: that of documents which are deleted one by one is only used again.
func (Engine) MakingRoom(engine.Installation) string {
	return "by dropping collections or databases; the room of documents that are deleted is used again for others"
}

// sparing are settings of a full node.
func sparing(n engine.Node) (group []setting) {
	if !n.Full {
		return nil
	}
	for _, spares := range pgserver.Sparing(n) {
		group = append(group, setting{spares.Name, spares.Value})
	}
	return group
}

// RefuseWrites tells the front by its configuration, which it looks at before each message. What it has let pass before
// is interrupted.
func (e Engine) RefuseWrites(ctx context.Context, n engine.Node, w engine.Writes) error {
	n.Full, n.Closed = w != engine.AnyWrites, w == engine.NoWrites
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	written, err := p.Written()
	if err == nil && !written {
		_, err = e.server(n.Installation).Reconfigure(ctx, n)
	}
	if err != nil {
		return inWords(err)
	}
	if !n.Full {
		return nil
	}
	sql := interruptSQL
	if n.Replication != nil { // a commit that waits for the standby and is cancelled is told as one that was acknowledged
		sql = strings.ReplaceAll(sql, "pg_cancel_backend", "pg_terminate_backend")
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, w == engine.NoWrites)
		return err
	})
}

// interruptSQL ends what writes for clients, and the making of indexes, but for what drops something. If $1 is false,
// that which deletes documents goes on too.
const interruptSQL = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE usename IN ('` + front.Writer + `', 'documentdb_bg_worker_role') AND state = 'active' AND backend_xid IS NOT NULL
    AND query !~ 'documentdb_api\.drop_' AND ($1 OR query !~ 'documentdb_api\.delete\(')`

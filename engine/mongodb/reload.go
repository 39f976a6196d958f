package mongodb

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

// Reload writes the configuration and has PostgreSQL read it again; the front reads its own, and the certificate,
// whenever somebody connects. A node that is to listen elsewhere, or whose FerretDB is to have more sessions, needs a
// restart.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	p, err := e.plan(ctx, n)
	if err != nil {
		return false, err
	}
	moved, err := moves(n)
	if err != nil {
		return false, err
	}
	if err := p.Reconfigure(); err != nil {
		return false, err
	}
	var asked time.Time
	err = withAdmin(ctx, n, func(conn *pgx.Conn) error {
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&asked); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "SELECT pg_reload_conf()")
		return err
	})
	if err != nil {
		return false, fmt.Errorf("have the configuration read again: %w", err)
	}
	restart, err = pgserver.AwaitReload(ctx, n, database, asked)
	if err != nil {
		return false, backstay.Wrapf(err, backstay.Unavailable, "The database does not take its new configuration.")
	}
	return restart || moved, nil
}

// moves tells whether the node is to listen elsewhere than the front does.
func moves(n engine.Node) (bool, error) {
	clients := n.Port(engine.ClientPort)
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	text, err := root.ReadFile(frontFile)
	if err != nil {
		return len(clients.Listen) > 0, nil // there is none, or none that can be read
	}
	var has front.Config
	if err := json.Unmarshal(text, &has); err != nil {
		return true, nil
	}
	return !slices.Equal(has.Listen, frontConfig(n, clients).Listen), nil
}

package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// Reload writes the configuration and has the server read it again, with the certificate. The server itself tells
// which settings it could not change while it runs, such as the size of its shared memory.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	if restart, err = reconfigure(ctx, n); err != nil {
		return false, err
	}
	return restart, e.Configure(ctx, n)
}

// reconfigure writes the configuration, and returns once the server has read it.
func reconfigure(ctx context.Context, n engine.Node) (restart bool, err error) {
	p, err := plan(ctx, n)
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
	if restart, err = pgserver.AwaitReload(ctx, n, database, asked); err != nil {
		return false, backstay.Wrapf(err, backstay.Unavailable, "The database does not take its new configuration.")
	}
	return restart, nil
}

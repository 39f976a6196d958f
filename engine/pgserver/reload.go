package pgserver

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// reloadPatience is how long the server may take to read its configuration again. It does so at once, unless the
// machine is busy, and never if it finds a mistake in the files.
const reloadPatience = 10 * time.Second

// reloaded asks when the server last read its configuration, and whether some of it waits for a restart. It is for a
// new session, which knows what the server knew when the session began. The archive, which servers lack that an earlier
// version of ours has started, is worth no restart: Backup says that one is needed.
const reloaded = "SELECT pg_conf_load_time() >= $1, " +
	"EXISTS (SELECT FROM pg_settings WHERE pending_restart AND name <> 'archive_mode')"

// AwaitReload waits until the server has read its configuration, and reports whether some of it needs a restart.
func AwaitReload(
	ctx context.Context, n engine.Node, database string, asked time.Time,
) (restart bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	err = wait.Until(ctx, wait.Growing(time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		done := false
		err = WithAdmin(ctx, n, database, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, reloaded, asked).Scan(&done, &restart)
		})
		return err == nil && !done, err
	})
	return restart, err
}

package pgserver

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
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

// Reconfigure writes the configuration, has the server read it again, and returns once it has. The server itself tells
// which settings it could not change while it runs, such as the size of its shared memory.
func (s Server) Reconfigure(ctx context.Context, n engine.Node) (restart bool, err error) {
	p, err := s.Plan(ctx, n)
	if err != nil {
		return false, err
	}
	if err := p.Reconfigure(); err != nil {
		return false, err
	}
	var asked time.Time
	err = s.withAdmin(ctx, n, func(conn *pgx.Conn) error {
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&asked); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "SELECT pg_reload_conf()")
		return err
	})
	if err != nil {
		return false, fmt.Errorf("have the configuration read again: %w", err)
	}
	if restart, err = s.AwaitReload(ctx, n, asked); err != nil {
		return false, backstay.Wrapf(err, backstay.Unavailable, "The database does not take its new configuration.")
	}
	return restart, nil
}

// AwaitReload waits until the server has read its configuration, and reports whether some of it needs a restart.
func (s Server) AwaitReload(ctx context.Context, n engine.Node, asked time.Time) (restart bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	err = wait.Until(ctx, wait.Growing(time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		done := false
		err = s.withAdmin(ctx, n, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, reloaded, asked).Scan(&done, &restart)
		})
		return err == nil && !done, err
	})
	return restart, err
}

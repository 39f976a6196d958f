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
	"github.com/backstay/backstay/internal/wait"
)

// reloadPatience is how long PostgreSQL may take to read its configuration again. It does so at once, unless the
// machine is busy.
const reloadPatience = 10 * time.Second

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
	restart, err = awaitReload(ctx, n, asked)
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

// reloaded asks when PostgreSQL last read its configuration, and whether some of it waits for a restart. It is for a
// new session, which knows what the server knew when the session began.
const reloaded = "SELECT pg_conf_load_time() >= $1, EXISTS (SELECT FROM pg_settings WHERE pending_restart)"

func awaitReload(ctx context.Context, n engine.Node, asked time.Time) (restart bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	err = wait.Until(ctx, wait.Growing(time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		done := false
		err = withAdmin(ctx, n, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, reloaded, asked).Scan(&done, &restart)
		})
		return err == nil && !done, err
	})
	return restart, err
}

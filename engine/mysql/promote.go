package mysql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// Promote has the node run all that it was sent, and forget whom it followed. Then its data is no longer fenced, and at
// last it takes what clients write. Commits wait for whom it awaits from its first one on.
func (e Engine) Promote(ctx context.Context, n engine.Node) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	chosen, err := e.parseSettings(n)
	if err != nil {
		return err
	}
	return withAdmin(ctx, n, func(conn *sql.Conn) error {
		if err := e.drain(ctx, conn, n); err != nil {
			if ctx.Err() != nil {
				return backstay.Wrapf(err, backstay.Unavailable, "The standby has not run yet all that it was sent.")
			}
			return err
		}
		err := run(ctx, conn, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL slave_exec_mode = 'STRICT'")
		if err != nil {
			return err
		}
		if err := p.Reconfigure(); err != nil {
			return err
		}
		if err := unfence(n.DataDir); err != nil {
			return err
		}
		if _, err := putInForce(ctx, conn, e.Tuning(n.Installation), settings(n, chosen)); err != nil {
			return err
		}
		return errors.Join(run(ctx, conn, "SET GLOBAL read_only = OFF"), switchOn(ctx, conn))
	})
}

// readersPatience is how long a server may take to run what it was sent before those who read from it are ended. They
// may hold locks that it waits for.
const readersPatience = 100 * time.Millisecond

// drain has a node that follows read what its primary has sent before it ended, and run it. A connection that nobody
// has closed is waited for a moment only: nothing that was acknowledged comes by it any more.
func (Engine) drain(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	const closing = 100 * time.Millisecond
	patience := time.Now().Add(closing)
	var s standing
	err := wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
		s, err = standingOf(ctx, conn)
		return err == nil && s.receives == "Yes" && time.Now().Before(patience), err
	})
	if err != nil || !s.known {
		return err
	}
	if s.receives == "No" || s.applies == "No" { // it was started since, or was not to follow any more
		if err := run(ctx, conn, "STOP SLAVE"); err != nil {
			return err
		}
		return runReceived(ctx, conn, n)
	}
	if err := run(ctx, conn, "STOP SLAVE IO_THREAD"); err != nil {
		return err
	}
	patience = time.Now().Add(readersPatience)
	return wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
		if s, err = standingOf(ctx, conn); err != nil {
			return false, err
		}
		if s.applies == "No" {
			err := resume(ctx, conn, s.applying)
			return err == nil, err
		}
		received, err := parseGTID(s.received)
		if again = s.applied.sequence < received.sequence; err == nil && again && time.Now().After(patience) {
			err = endReaders(ctx, conn, dialectOf(n.Installation))
		}
		return err == nil && again, err
	})
}

package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

var _ engine.Reader = Engine{}

// CatchUp waits until the node has run what the primary had committed. The accounts come with that, but a server that
// runs that an account is locked, or dropped, ends no session of it: that is done here.
func (Engine) CatchUp(ctx context.Context, primary, n engine.Node) error {
	var end gtid
	err := withAdmin(ctx, primary, func(conn *sql.Conn) (err error) {
		end, err = position(ctx, conn, committed)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask the primary: %w", err)
	}
	return withAdmin(ctx, n, func(conn *sql.Conn) error {
		if err := applied(ctx, conn, end); err != nil {
			return err
		}
		return endStrangers(ctx, conn, n)
	})
}

// applied returns once the node has run everything up to there.
func applied(ctx context.Context, conn *sql.Conn, end gtid) error {
	err := wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
		has, err := position(ctx, conn, committed)
		return err == nil && has.sequence < end.sequence, err
	})
	if err != nil && ctx.Err() != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The standby has not run yet all that it was sent.")
	}
	return err
}

// endStrangers ends the sessions of accounts that cannot log in any more.
func endStrangers(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	known, err := column(ctx, conn, "SELECT User FROM mysql.user WHERE Host = '%' AND User NOT IN ("+
		dialectOf(n.Installation).locked+")")
	if err != nil {
		return err
	}
	all, err := readers(ctx, conn)
	if err != nil {
		return err
	}
	for _, s := range all {
		if slices.Contains(known, s.user) {
			continue
		}
		if err := endSessions(ctx, conn, n, s.user); err != nil {
			return err
		}
	}
	return nil
}

// readers are the sessions that bindings have on a node that follows. One that is just logging in has no account yet.
func readers(ctx context.Context, conn *sql.Conn) (found []session, err error) {
	all, err := allSessions(ctx, conn)
	return slices.DeleteFunc(all, func(s session) bool { return !s.remote || !userName.MatchString(s.user) }), err
}

// EndReaders ends whatever bindings are at, which may hold locks that what the node is sent waits for.
func (Engine) EndReaders(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *sql.Conn) error { return endReaders(ctx, conn, dialectOf(n.Installation)) })
}

func endReaders(ctx context.Context, conn *sql.Conn, d dialect) error {
	all, err := readers(ctx, conn)
	for _, s := range all {
		if err := kill(ctx, conn, d.kill, s); err != nil {
			return err
		}
	}
	return err
}

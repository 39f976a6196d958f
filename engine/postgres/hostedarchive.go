package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// MarkLog knows that nothing was committed since the last mark when no transaction with a younger id has ended, and
// none with an older one was under way: who writes has one. A restore to a moment wants a commit behind that, which a
// quiet server has none of: this is it.
func (Engine) MarkLog(ctx context.Context, n engine.Node, last engine.LogMark) (m engine.LogMark, err error) {
	err = pgserver.WithAdmin(ctx, n, foreign, func(conn *pgx.Conn) error {
		quiet, now, err := quietSince(ctx, conn, last)
		if err != nil {
			return err
		}
		if quiet {
			m = last
			m.Seen = now
			return nil
		}
		m, err = mark(ctx, conn)
		return err
	})
	return m, err
}

// quietSince tells whether nothing was committed between a mark and a moment. That is when the statement began: what it
// sees is later.
func quietSince(ctx context.Context, conn *pgx.Conn, last engine.LogMark) (quiet bool, now time.Time, err error) {
	var oldest, next string
	err = conn.QueryRow(ctx, "SELECT statement_timestamp(), pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text "+
		"FROM pg_current_snapshot() s").Scan(&now, &oldest, &next)
	return last.State != "" && last.State == next && oldest == next, now.UTC(), err
}

func mark(ctx context.Context, conn *pgx.Conn) (m engine.LogMark, err error) {
	var id, oldest string
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT pg_current_xact_id()::text").Scan(&id); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot())::text").
			Scan(&m.At, &oldest)
	})
	if err != nil {
		return m, fmt.Errorf("mark the log: %w", err)
	}
	m.At = m.At.UTC()
	m.Seen = m.At
	if number, err := strconv.ParseUint(id, 10, 64); err == nil && oldest == id { // no older one can commit yet
		m.State = strconv.FormatUint(number+1, 10)
	}
	err = conn.QueryRow(ctx, "SELECT pg_walfile_name(pg_switch_wal())").Scan(&m.Piece)
	return m, err
}

// DropUsers leaves the roles of whoever runs the server.
func (e Engine) DropUsers(ctx context.Context, n engine.Node) error {
	if err := e.DismissDriller(ctx, n); err != nil {
		return err
	}
	var names []string
	err := withAdmin(ctx, n, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND oid <> 10 "+
			"AND NOT rolsuper AND NOT rolreplication AND (pg_has_role(oid, '"+owner+"', 'MEMBER') OR "+
			"pg_has_role(oid, '"+reader+"', 'MEMBER'))")
		if err == nil {
			names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	for _, name := range names {
		err = errors.Join(err, e.DropUser(ctx, n, name))
	}
	return err
}

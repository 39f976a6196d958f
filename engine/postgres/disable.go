package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// checkDisabled is Unsupported for extensions that are to go and on which something of the tenants depends. It asks the
// running node by dropping them in a transaction that it takes back: nobody else tells all that depends on them. Where
// it cannot ask, because the node does not run or somebody holds a lock, it refuses nothing.
func checkDisabled(ctx context.Context, n engine.Node, names []string) error {
	if len(names) == 0 || n.Admin.Dial == nil {
		return nil
	}
	err := withAdmin(ctx, n, func(conn *pgx.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '100ms'"); err != nil {
			return err
		}
		return dropExtensions(ctx, tx, names)
	})
	if backstay.KindOf(err) == backstay.Unsupported {
		return err
	}
	return nil
}

// executor is a connection or a transaction.
type executor interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
}

// dropExtensions drops those of the extensions that are there, all or none. It never drops what depends on them: it is
// Unsupported then, and its sentence names what does.
func dropExtensions(ctx context.Context, on executor, names []string) error {
	rows, err := on.Query(ctx, "SELECT extname::text FROM pg_extension WHERE extname = ANY ($1::text[]) ORDER BY 1", names)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(there) == 0 {
		return err
	}
	quoted := make([]string, len(there))
	for i, name := range there {
		quoted[i] = quoteName(name)
	}
	_, err = on.Exec(ctx, "DROP EXTENSION "+strings.Join(quoted, ", ")+" RESTRICT")
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == pgerrcode.DependentObjectsStillExist {
		return backstay.Wrapf(err, backstay.Unsupported, "%s cannot be disabled, because something depends on it: %s. "+
			"Drop that first, or keep the extension.", strings.Join(there, ", "), dependents(refusal.Detail))
	}
	return err
}

// dependents lists in one line what PostgreSQL says depends on what was to be dropped, or how much that is.
func dependents(detail string) string {
	const most = 5
	lines := strings.Split(strings.TrimSpace(detail), "\n")
	if len(lines) > most {
		lines = append(lines[:most], "and more")
	}
	return strings.Join(lines, "; ")
}

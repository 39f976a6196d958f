package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/wait"
)

// A transaction that was prepared (XA PREPARE) outlives its session, with all its locks, and whoever is let in may
// commit it or roll it back. Which account prepared it is recorded nowhere. So when an account goes, what its own
// sessions had prepared is rolled back, as far as that is certain: where no other transaction without a session is
// there, or where nobody else is left who could want to end it.

// prepared is a transaction's name: of the format, the global transaction and its branch.
type prepared struct {
	format int64
	name   []byte // of both, one after the other
	global int    // length of the first
}

func (p prepared) sql() string {
	return fmt.Sprintf("X'%X',X'%X',%d", p.name[:p.global], p.name[p.global:], p.format)
}

// allPrepared are the transactions that are prepared, whether their sessions are there or not.
func allPrepared(ctx context.Context, conn *sql.Conn) (all []prepared, err error) {
	rows, err := conn.QueryContext(ctx, "XA RECOVER")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p prepared
		var branch int
		if err := rows.Scan(&p.format, &p.global, &branch, &p.name); err != nil {
			return nil, err
		}
		if p.global+branch == len(p.name) {
			all = append(all, p)
		}
	}
	return all, rows.Err()
}

// sessionless is the number of the session of transactions whose session is gone.
const sessionless = "0"

// transactions are the numbers of the server's transactions that have one of these sessions.
func transactions(ctx context.Context, conn *sql.Conn, sessions ...string) ([]string, error) {
	const stale = 110 * time.Millisecond // for a tenth of a second, the server shows again what it last showed
	if err := wait.Pause(ctx, stale); err != nil {
		return nil, err
	}
	query := "SELECT trx_id FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id IN (%s)"
	return column(ctx, conn, fmt.Sprintf(query, strings.Join(sessions, ", ")))
}

// ownTransactions are those of an account's sessions, if any transaction at all is prepared. None are known if the
// server cannot tell, as when its disk is full.
func ownTransactions(ctx context.Context, conn *sql.Conn, name string) []string {
	all, err := allPrepared(ctx, conn)
	if err != nil || len(all) == 0 {
		return nil
	}
	sessions, err := sessionsOf(ctx, conn, name)
	if err != nil || len(sessions) == 0 {
		return nil
	}
	ids := make([]string, len(sessions))
	for i, s := range sessions {
		ids[i] = s.id
	}
	own, err := transactions(ctx, conn, ids...)
	if err != nil {
		return nil
	}
	return own
}

// endPrepared rolls back what the sessions of an account, which are gone, had prepared in their own transactions.
func endPrepared(ctx context.Context, conn *sql.Conn, d dialect, own []string) error {
	all, err := allPrepared(ctx, conn)
	if err != nil || len(all) == 0 {
		return err
	}
	others, err := column(ctx, conn, "SELECT User FROM mysql.user WHERE Host = '%' AND User NOT IN ("+d.locked+")")
	if err != nil {
		return err
	}
	left, err := transactions(ctx, conn, sessionless)
	if err != nil {
		return err
	}
	foreign := func(transaction string) bool { return !slices.Contains(own, transaction) }
	if len(others) > 0 && (len(left) == 0 || slices.ContainsFunc(left, foreign)) {
		return nil
	}
	for _, p := range all {
		if err := run(ctx, conn, "XA ROLLBACK "+p.sql()); err != nil && !isNumber(err, noSuchTransaction) {
			return err
		}
	} // one whose session is there is none of those that can be rolled back
	return nil
}

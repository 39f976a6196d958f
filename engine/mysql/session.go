package mysql

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/wait"
)

// session is a connection of an account's. One that was killed is at its last statement at most.
type session struct {
	id     string
	killed bool
}

// sessionsOf are an account's. Events that run with its rights show as sessions too, without an address: they go on.
func sessionsOf(ctx context.Context, conn *sql.Conn, name string) (found []session, err error) {
	// information_schema would take room on the disk, which may be full.
	rows, err := conn.QueryContext(ctx, "SHOW PROCESSLIST")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		id, user, host, command := values[0].String, values[1].String, values[2].String, values[4].String
		if user == name && strings.Contains(host, ":") {
			found = append(found, session{id, command == "Killed"})
		}
	}
	return found, rows.Err()
}

// endLimit is how long an unbinding waits for sessions that it has ended.
const endLimit = 3 * time.Second

// endSessions ends the sessions of a locked account, and waits until they have ended. One at a statement that does not
// look up, or that takes long to undo, is not waited for beyond endLimit: the server has closed its connection, and it
// can begin nothing any more.
func endSessions(ctx context.Context, conn *sql.Conn, d dialect, name string) error {
	giveUp := time.Now().Add(endLimit)
	return wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		found, err := sessionsOf(ctx, conn, name)
		late := time.Now().After(giveUp)
		for _, s := range found {
			again = again || !late || !s.killed
			// One that is killed already may have been so by itself, and its statement alone.
			if err := run(ctx, conn, d.kill+s.id); err != nil && !isNumber(err, noSuchThread) {
				return false, err
			}
		}
		return again, err
	})
}

package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// session is a connection of an account's. One that was killed is at its last statement at most.
type session struct {
	id, user string
	remote   bool   // it has an address: events show as sessions too, and ours comes by a socket
	command  string // what it is at: "Sleep", "Query", "Killed" and others
	state    string // of its statement, in words
	info     string // the statement
}

func (s session) killed() bool { return s.command == "Killed" }

// runs tells whether it is at a statement.
func (s session) runs() bool { return s.command == "Query" || s.command == "Execute" }

// commits tells whether it waits in the middle of a commit for room on the disk. It looks whether there is some once in
// a minute, and when it is killed. If there is none then, it gives up and leaves the binary log torn, on which the
// server goes on writing.
func (s session) commits() bool { return s.state == "Waiting for someone to free space" }

// commitRoom is what a commit most often finds enough.
const commitRoom = 8 * mb

// allSessions are those of all accounts.
func allSessions(ctx context.Context, conn *sql.Conn) (found []session, err error) {
	// information_schema would take room on the disk, which may be full.
	rows, err := conn.QueryContext(ctx, "SHOW FULL PROCESSLIST")
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
		found = append(found, session{id: values[0].String, user: values[1].String,
			remote: strings.Contains(values[2].String, ":"), command: values[4].String,
			state: values[6].String, info: values[7].String})
	}
	return found, rows.Err()
}

// sessionsOf are an account's. Events that run with its rights go on.
func sessionsOf(ctx context.Context, conn *sql.Conn, name string) (found []session, err error) {
	all, err := allSessions(ctx, conn)
	return slices.DeleteFunc(all, func(s session) bool { return s.user != name || !s.remote }), err
}

// endLimit is how long an unbinding waits for sessions that it has ended.
const endLimit = 3 * time.Second

// endSessions ends the sessions of a locked account, and waits until they have ended. One at a statement that does not
// look up, or that takes long to undo, is not waited for beyond endLimit: the server has closed its connection, and it
// can begin nothing any more.
func endSessions(ctx context.Context, conn *sql.Conn, n engine.Node, name string) error {
	d := dialectOf(n.Installation)
	giveUp := time.Now().Add(endLimit)
	return wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		found, err := sessionsOf(ctx, conn, name)
		late := time.Now().After(giveUp)
		for _, s := range found {
			again = again || !late || !s.killed()
			if s.commits() && !late && !engine.HasRoom(n.DataDir, commitRoom) {
				continue
			}
			// One that is killed already may have been so by itself, and its statement alone.
			if err := kill(ctx, conn, d.kill, s); err != nil {
				return false, err
			}
		}
		return again, err
	})
}

// kill ends a session, or its statement. One that has ended by itself is none. One at a commit that another node does
// not have yet is left alone: it may commit for others too, who would be told that they have.
func kill(ctx context.Context, conn *sql.Conn, how string, s session) error {
	if s.waitsForNode() {
		return nil
	}
	if err := run(ctx, conn, how+s.id); err != nil && !isNumber(err, noSuchThread) {
		return err
	}
	return nil
}

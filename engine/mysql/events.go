package mysql

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// A server that follows notes of every event that its primary makes only that it is not to be run here, whether it is
// on or off there. So it is told which are on, for the day on which it takes over. What was made in the last moments
// before that is taken to be on.

// eventStates returns which events are on, by their names.
func eventStates(ctx context.Context, conn *sql.Conn) (states map[string]string, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT name, status FROM mysql.event WHERE db = '"+database+"'")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	states = map[string]string{}
	for rows.Next() {
		var name, state string
		if err := rows.Scan(&name, &state); err != nil {
			return nil, err
		}
		states[name] = state
	}
	return states, rows.Err()
}

// tellEvents notes in a server that follows which events are on. It runs none of them meanwhile.
func tellEvents(ctx context.Context, conn *sql.Conn, states map[string]string) error {
	has, err := eventStates(ctx, conn)
	if err != nil {
		return err
	}
	for name, state := range states {
		before, there := has[name]
		if !there || before == state {
			continue
		}
		err := run(ctx, conn, unlogged, "UPDATE mysql.event SET status = "+quoteText(state)+" WHERE db = '"+database+
			"' AND name = "+quoteText(name))
		if err != nil {
			return err
		}
	}
	return nil
}

// switchOn switches on the events that are meant to be on. The server notices that by a statement alone, which changes
// whose the event is, and its character sets, unless it is told not to.
func switchOn(ctx context.Context, conn *sql.Conn) error {
	names, err := column(ctx, conn, "SELECT name FROM mysql.event WHERE db = '"+database+
		"' AND status IN ('ENABLED', 'SLAVESIDE_DISABLED')")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := switchOnOne(ctx, conn, name); err != nil {
			return err
		}
	}
	return nil
}

func switchOnOne(ctx context.Context, conn *sql.Conn, name string) error {
	where := " FROM mysql.event WHERE db = '" + database + "' AND name = " + quoteText(name)
	e, err := row(ctx, conn, "SELECT definer, sql_mode, character_set_client, collation_connection"+where)
	if err != nil {
		return err
	}
	at := strings.LastIndexByte(e["definer"], '@')
	if at < 0 {
		return nil // no account: it cannot run
	}
	err = run(ctx, conn, unlogged, "ALTER DEFINER = "+quoteText(e["definer"][:at])+"@"+quoteText(e["definer"][at+1:])+
		" EVENT `"+database+"`.`"+strings.ReplaceAll(name, "`", "``")+"` ENABLE")
	if refusal := new(mysql.MySQLError); errors.As(err, &refusal) {
		return nil // as one whose time is over: it will not run, which is no reason not to take over
	}
	if err != nil {
		return err
	}
	return run(ctx, conn, "UPDATE mysql.event SET sql_mode = "+quoteText(e["sql_mode"])+", character_set_client = "+
		quoteText(e["character_set_client"])+", collation_connection = "+quoteText(e["collation_connection"])+
		" WHERE db = '"+database+"' AND name = "+quoteText(name))
}

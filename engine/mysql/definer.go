package mysql

import (
	"context"
	"database/sql"
	"slices"
)

// definedIn is the query for the accounts with whose rights something in the database runs; routines
// and events lie where each server keeps them.
func definedIn(routines, events string) string {
	of := " = '" + database + "'"
	return "SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA" + of +
		" UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA" + of +
		" UNION SELECT DEFINER FROM " + routines + of +
		" UNION SELECT DEFINER FROM " + events + of
}

// removeUnneeded drops every locked account with whose rights nothing runs any more: what a binding
// has defined goes on as long as it is there, whoever drops it in the end.
func removeUnneeded(ctx context.Context, conn *sql.Conn, d dialect) error {
	gone, err := column(ctx, conn, d.locked)
	if err != nil || len(gone) == 0 {
		return err
	}
	needed, err := column(ctx, conn, d.definers)
	if err != nil {
		return err
	}
	for _, name := range gone {
		if slices.Contains(needed, name+"@%") {
			continue
		}
		if err := run(ctx, conn, "DROP USER IF EXISTS "+account(name)); err != nil {
			return err
		}
	}
	return nil
}

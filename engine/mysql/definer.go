package mysql

import (
	"context"
	"database/sql"
	"slices"
)

// definedIn returns the query for the accounts that define something in the database: their rights are what it runs
// with. The arguments say where the server at hand keeps routines and events.
func definedIn(routines, events string) string {
	of := " = '" + database + "'"
	return "SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA" + of +
		" UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA" + of +
		" UNION SELECT DEFINER FROM " + routines + of +
		" UNION SELECT DEFINER FROM " + events + of
}

// removeUnneeded drops the locked accounts that define nothing any more. An account whose binding has ended stays,
// locked, as long as something that it has defined is there.
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

package mysql

import (
	"context"
	"database/sql"
	"slices"
)

// locked are accounts whose bindings are gone.
const locked = "SELECT User FROM mysql.global_priv WHERE Host = '%' AND JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')"

// definers are accounts with whose rights something in the database runs. Packages lie among routines.
const definers = "SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '" + database + "'" +
	" UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '" + database + "'" +
	" UNION SELECT definer FROM mysql.proc WHERE db = '" + database + "'" +
	" UNION SELECT definer FROM mysql.event WHERE db = '" + database + "'"

// removeUnneeded drops every locked account with whose rights nothing runs any more: what a binding
// has defined goes on as long as it is there, whoever drops it in the end.
func removeUnneeded(ctx context.Context, conn *sql.Conn) error {
	gone, err := column(ctx, conn, locked)
	if err != nil || len(gone) == 0 {
		return err
	}
	needed, err := column(ctx, conn, definers)
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

package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/backstay/backstay/engine"
)

// readOnlyVariable is the number of the error for a variable that only a restart can change.
const readOnlyVariable = 1238

// Reload writes the configuration, sets the variables that can be set while the server runs, and has it read its
// certificate again.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	p, err := e.plan(ctx, n)
	if err != nil {
		return false, err
	}
	if err := p.Reconfigure(); err != nil {
		return false, err
	}
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		if restart, err = setVariables(ctx, conn, settings(n)); err != nil || len(n.Ports) == 0 {
			return err
		}
		return run(ctx, conn, dialectOf(n.Installation).renewTLS)
	})
	if err != nil {
		return false, fmt.Errorf("put the configuration in force: %w", err)
	}
	return restart, nil
}

// setVariables gives the server's variables the values that they would have after a restart. It reports whether some
// of them need that restart. Settings that are not variables are skipped: they are the same for every node.
func setVariables(ctx context.Context, conn *sql.Conn, all []setting) (restart bool, err error) {
	has, err := variables(ctx, conn)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		value, known := has[strings.ToLower(s.name)]
		if !known || s.value == "" || means(value) == means(s.value) {
			continue
		}
		switch err := run(ctx, conn, "SET GLOBAL "+s.name+" = "+literal(s.value)); {
		case isNumber(err, readOnlyVariable):
			restart = true
		case err != nil:
			return false, fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return restart, nil
}

// variables returns the values of the server's variables, keyed by name in lower case.
func variables(ctx context.Context, conn *sql.Conn) (map[string]string, error) {
	rows, err := conn.QueryContext(ctx, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	has := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		has[strings.ToLower(name)] = value
	}
	return has, rows.Err()
}

// means returns a form of a value that is equal for values that mean the same: "256M" and "268435456", "ON" and "1",
// a directory with and without a slash at its end.
func means(value string) string {
	if number, ok := inUnits(value); ok {
		return strconv.FormatInt(number, 10)
	}
	switch value := strings.ToLower(strings.TrimSuffix(value, "/")); value {
	case "on", "yes", "true":
		return "1"
	case "off", "no", "false":
		return "0"
	default:
		return value
	}
}

// inUnits reads a whole number that may end in a unit: K, M or G.
func inUnits(value string) (number int64, ok bool) {
	unit := int64(1)
	for suffix, of := range map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if digits, found := strings.CutSuffix(value, suffix); found {
			value, unit = digits, of
		}
	}
	number, err := strconv.ParseInt(value, 10, 64)
	return number * unit, err == nil
}

// literal writes a value as SET GLOBAL takes it: numbers bare, everything else quoted.
func literal(value string) string {
	if number, ok := inUnits(value); ok {
		return strconv.FormatInt(number, 10)
	}
	return quoteText(value)
}

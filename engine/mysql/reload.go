package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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
	chosen, err := e.parseSettings(n)
	if err != nil {
		return false, err
	}
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		restart, err = putInForce(ctx, conn, e.Tuning(n.Installation), settings(n, chosen))
		if err != nil || len(n.Ports) == 0 {
			return err
		}
		return run(ctx, conn, dialectOf(n.Installation).renewTLS)
	})
	if err != nil {
		return false, fmt.Errorf("put the configuration in force: %w", err)
	}
	return restart, nil
}

// putInForce gives the server's variables the values that they would have after a restart. It reports whether some of
// them need that restart.
func putInForce(ctx context.Context, conn *sql.Conn, t engine.Tuning, lines []setting) (restart bool, err error) {
	has, err := readVariables(ctx, conn)
	if err != nil {
		return false, err
	}
	restart, err = setVariables(ctx, conn, has, lines)
	if err != nil {
		return false, err
	}
	stays, err := resetVariables(ctx, conn, has, t, lines)
	return restart || stays, err
}

// setVariables gives variables the values of the lines. Settings that are not variables are skipped: they are the same
// for every node. So is the log's buffer, which MariaDB makes as large as the log where that lies in memory.
func setVariables(ctx context.Context, conn *sql.Conn, has variables, lines []setting) (restart bool, err error) {
	for _, s := range lines {
		name := has.called(s.name)
		value, known := has[name]
		if !known || s.value == "" || s.name == logBuffer || means(value) == means(s.value) {
			continue
		}
		switch err := run(ctx, conn, "SET GLOBAL "+name+" = "+literal(s.value)); {
		case isNumber(err, readOnlyVariable):
			restart = true
		case err != nil:
			return false, fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return restart, nil
}

// resetVariables gives the settings that users may choose, and that have no line, the values that the product gives
// them: somebody may have chosen them before.
func resetVariables(
	ctx context.Context, conn *sql.Conn, has variables, t engine.Tuning, lines []setting,
) (restart bool, err error) {
	for _, s := range t {
		name := has.called(s.Name)
		switch {
		case slices.ContainsFunc(lines, func(line setting) bool { return line.name == s.Name }):
		case s.Restart:
			restart = restart || means(has[name]) != means(s.Default)
		default:
			if err := run(ctx, conn, "SET GLOBAL "+name+" = DEFAULT"); err != nil {
				return false, fmt.Errorf("reset %s: %w", s.Name, err)
			}
		}
	}
	return restart, nil
}

// variables are the values of the server's variables, keyed by name in lower case.
type variables map[string]string

// called returns the name of the variable for a setting of my.cnf, which differs for some.
func (v variables) called(setting string) string {
	switch _, known := v["transaction_isolation"]; {
	case setting == timeZone:
		return "time_zone"
	case setting == "transaction_isolation" && !known:
		return "tx_isolation" // of MariaDB before 11.1
	case setting == readOnlySetting && !known:
		return "tx_read_only"
	}
	return strings.ToLower(setting)
}

func readVariables(ctx context.Context, conn *sql.Conn) (variables, error) {
	rows, err := conn.QueryContext(ctx, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	has := variables{}
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

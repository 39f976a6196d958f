package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	oracleServer = "mysqld"
	validator    = "file://component_validate_password"
)

// oracle is MySQL itself, Oracle's server, from version 8.0 on.
var oracle = dialect{
	product: "MySQL", program: oracleServer,
	// "/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)"; other servers
	// name themselves between the version and "for".
	reported: regexp.MustCompile(`  Ver ((?:[89]|[1-9][0-9]+)\.[0-9]+(?:\.[0-9]+)*)(?:-[0-9][0-9A-Za-z.+~]*)? for ` +
		`.*\((?:MySQL |\(?Debian|\(?Ubuntu)`),
	files:   []string{"lib/mysql/plugin", "lib/mysql/private", "share/mysql*"},
	section: "mysqld", settings: oracleSettings, start: oracleStart,
	validate: []string{"--validate-config"},
	recipe:   fmt.Sprintf("%q %q", oracleBuild, oracleSQL), build: buildOracle, madeBy: oracleMadeBy, notes: oracleNotes,
	identified: func(u engine.User) string {
		return "WITH caching_sha2_password BY " + quoteText(u.Password.Reveal())
	},
	holds:  oracleHolds,
	reads:  func(who string) []string { return []string{"GRANT SHOW_ROUTINE ON *.* TO " + who} },
	locked: "SELECT User FROM mysql.user WHERE Host = '%' AND account_locked = 'Y'",
	definers: definedIn("information_schema.ROUTINES WHERE ROUTINE_SCHEMA",
		"information_schema.EVENTS WHERE EVENT_SCHEMA"),
	kill:     "KILL CONNECTION ",
	renewTLS: "ALTER INSTANCE RELOAD TLS", issued: true,
	zones: []string{"bin/mysql_tzinfo_to_sql"}, replaceZones: oracleReplaceZones,
	logged: regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d) ` +
		`(\d+) \[([A-Za-z]+)\] \[MY-\d+\] \[\w+\] (.*)$`),
	begins: "MySQL Server - start.",
}

// oracleHolds keeps a read-only user from changing its password. SET PASSWORD, which everybody may use, leaves a
// user's secondary password alone unless the new one is empty, and validate_password refuses an empty one. So a
// read-only user's own password is the secondary, and nobody knows the primary.
func oracleHolds(ctx context.Context, conn *sql.Conn, u engine.User) error {
	who := account(u.Name)
	if !u.ReadOnly {
		return run(ctx, conn, "ALTER USER "+who+" DISCARD OLD PASSWORD")
	}
	there, err := column(ctx, conn, "SELECT component_urn FROM mysql.component WHERE component_urn = '"+validator+"'")
	if err == nil && len(there) == 0 {
		err = run(ctx, conn, "INSTALL COMPONENT '"+validator+"'")
	}
	if err != nil {
		return err
	}
	return run(ctx, conn, "ALTER USER "+who+" IDENTIFIED BY "+quoteText(rand.Text())+" RETAIN CURRENT PASSWORD")
}

//go:embed oracle.sql
var oracleSQL string

// oracleBuild are the settings with which a golden directory is made: a small redo log, which a node resizes at
// its first start, and no syncing, since a directory that is not finished is thrown away.
var oracleBuild = []string{
	"--initialize-insecure", "--innodb-redo-log-capacity=8M", "--innodb-flush-method=nosync", "--skip-log-bin",
	"--auto-generate-certs=OFF", "--caching-sha2-password-auto-generate-rsa-keys=OFF",
	"--loose-sha256-password-auto-generate-rsa-keys=OFF", "--secure-file-priv=NULL",
	"--character-set-server=" + charset,
}

// oracleVersion names a file of ours with the version that made the data: since 8.4 the server has none of its own
// with nothing but that in it.
const oracleVersion = "made_by_mysql"

// buildOracle makes the golden directory. It removes the administrator that has no password, and what all clones would
// share and must not: the server's unique id and its keys.
func buildOracle(w *datadir.Workshop, i engine.Installation, zones string) error {
	script := filepath.Join(w.Dir, "golden.sql")
	if err := os.WriteFile(script, []byte(oracleSQL+zones), 0o644); err != nil {
		return err
	}
	directories := []string{
		"--no-defaults", "--basedir=" + filepath.Dir(i.Dir), "--datadir=" + w.Data, "--tmpdir=" + w.Dir,
		"--init-file=" + script,
	}
	if err := w.Run("", filepath.Join(i.Dir, oracleServer), slices.Concat(directories, oracleBuild)...); err != nil {
		return err
	}
	keys, err := filepath.Glob(filepath.Join(w.Data, "*.pem"))
	for _, path := range append(keys, filepath.Join(w.Data, "auto.cnf")) {
		if removed := os.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return errors.Join(err, datadir.Fill(w.Data, -1, -1, oracleNotes(i)))
}

// oracleNotes is the file that names the version.
func oracleNotes(i engine.Installation) map[string]string {
	return map[string]string{oracleVersion: i.Version + "\n"}
}

func oracleMadeBy(data string) (version string, err error) {
	made, err := os.ReadFile(filepath.Join(data, oracleVersion))
	return strings.TrimSpace(string(made)), err
}

// oracleReplaceZones replaces the zones in one transaction, so that nobody ever finds half of them.
func oracleReplaceZones(rows []string) []string {
	statements := []string{"USE mysql", "START TRANSACTION"}
	for _, table := range zoneTables {
		statements = append(statements, "DELETE FROM "+table)
	}
	return slices.Concat(statements, rows, []string{"COMMIT"})
}

// oracleSettings are the settings that MySQL alone has. skip_stack_trace is set because a server that crashes would
// log the statement that it was at.
func oracleSettings(n engine.Node) []setting {
	var issuer []setting
	if (dialect{issued: true}).proves(n) {
		issuer = []setting{{"ssl_ca", filepath.Join(n.DataDir, authorityFile)}}
	}
	return append(issuer, []setting{
		{"basedir", filepath.Dir(n.Installation.Dir)},
		{"skip_log_bin", "ON"}, // nobody would archive it
		{"innodb_redo_log_capacity", inBytes(logSize(n))},
		{"secure_file_priv", "NULL"},
		{"mysqlx", "OFF"},
		{"loose_validate_password.policy", "LOW"}, // for no password but the empty one: see oracleHolds
		{"loose_validate_password.length", "1"},
		{"auto_generate_certs", "OFF"},
		// Clients need these keys only where there is no TLS.
		{"caching_sha2_password_auto_generate_rsa_keys", "OFF"},
		{"loose_sha256_password_auto_generate_rsa_keys", "OFF"},
		{"log_error_verbosity", "2"},
		{"skip_stack_trace", ""},
	}...)
}

// oracleStart returns the SQL that makes the operator the only account that can log in by the Unix socket. Accounts
// of other names are left from a keeper that ran as another user.
func oracleStart(operator string) string {
	account := quoteText(operator) + "@'localhost'"
	return mayWrite + ";\nDELETE FROM mysql.user " +
		"WHERE Host = 'localhost' AND User NOT LIKE 'mysql.%' AND User <> " + quoteText(operator) + ";\n" +
		"FLUSH PRIVILEGES;\n" +
		"CREATE USER IF NOT EXISTS " + account + " IDENTIFIED WITH auth_socket AS " + quoteText(operator) + ";\n" +
		"GRANT ALL PRIVILEGES ON *.* TO " + account + " WITH GRANT OPTION;\n"
}

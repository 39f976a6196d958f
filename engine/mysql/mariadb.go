package mysql

import (
	"context"
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
	mariadbServer    = "mariadbd"
	mariadbInstaller = "bin/mariadb-install-db"
)

// mariadb is MariaDB's server, the MySQL of Debian 12.
var mariadb = dialect{
	product: "MariaDB", program: mariadbServer, companion: mariadbInstaller,
	// "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu …"
	reported: regexp.MustCompile(`  Ver ([0-9]+\.[0-9]+(?:\.[0-9]+)*)-MariaDB\b`),
	// Beside plugins lies a directory of PAM's, which root alone can read and no node uses.
	files: []string{mariadbInstaller, "bin/my_print_defaults", "bin/resolveip", "lib/mysql/plugin/*.so", "share/mysql",
		backupProgram, streamProgram},
	section: "mariadbd", settings: mariadbSettings, start: mariadbStart,
	validate: []string{"--help", "--verbose"},
	recipe:   fmt.Sprintf("%q %q %q", mariadbInstall, mariadbBuild, mariadbSQL),
	build:    buildMariaDB, madeBy: mariadbMadeBy, upgrade: "bin/mariadb-upgrade",
	notes:      func(engine.Installation) map[string]string { return nil },
	identified: mariadbIdentified,
	holds:      func(context.Context, *sql.Conn, engine.User) error { return nil },
	reads:      func(who string) []string { return []string{"GRANT SELECT ON mysql.proc TO " + who} },
	locked: "SELECT User FROM mysql.global_priv " +
		"WHERE Host = '%' AND JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')",
	// The standard's views have no packages; mysql.proc has.
	definers:   definedIn("mysql.proc WHERE db", "mysql.event WHERE db"),
	kill:       "KILL HARD CONNECTION ",
	renewTLS:   "FLUSH NO_WRITE_TO_BINLOG SSL",
	checkpoint: "SET GLOBAL innodb_log_checkpoint_now = ON",
	zones:      []string{"bin/mariadb-tzinfo-to-sql", "--no-defaults"}, replaceZones: mariadbReplaceZones,
	logged: regexp.MustCompile(`^\d{4}-\d\d-\d\d +\d+:\d\d:\d\d (\d+) \[([A-Za-z]+)\] (.*)$`),
	begins: "Starting MariaDB ",
}

// mariadbIdentified gives a user its password. SET PASSWORD, which everybody may use, changes the first of a user's
// passwords only. So a read-only user gets a first one that nobody knows, and its own as the second.
func mariadbIdentified(u engine.User) string {
	by := "mysql_native_password USING " + quoteText(hashed(u.Password))
	if u.ReadOnly {
		return "VIA mysql_native_password USING 'invalid' OR " + by
	}
	return "VIA " + by
}

//go:embed mariadb.sql
var mariadbSQL string

// mariadbBuild are the settings with which a golden directory is made: a small redo log, which a node resizes at
// its first start, and no syncing, since a directory that is not finished is thrown away.
var mariadbBuild = []string{"--innodb-log-file-size=4M", "--innodb-flush-method=nosync", "--skip-log-bin",
	"--character-set-server=" + charset, "--collation-server=utf8mb4_general_ci"}

// mariadbInstall are the installer's options: its administrator logs in by the Unix socket alone. The node's first
// start replaces it by the node's operator.
var mariadbInstall = []string{"--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"}

func buildMariaDB(w *datadir.Workshop, i engine.Installation, zones string) error {
	// A server that starts removes the temporary tables in its tmpdir: the machine's would not be ours alone.
	directories := []string{
		"--no-defaults", "--basedir=" + filepath.Dir(i.Dir), "--datadir=" + w.Data, "--tmpdir=" + w.Dir,
	}
	arguments := slices.Concat(directories, mariadbInstall, mariadbBuild)
	if err := w.Run("", beside(i, mariadbInstaller), arguments...); err != nil {
		return err
	}
	server := filepath.Join(i.Dir, mariadbServer)
	return w.Run(mariadbSQL+zones, server, slices.Concat(directories, []string{"--bootstrap"}, mariadbBuild)...)
}

// Where MariaDB's installer leaves its version, since version 11 and before.
const (
	mariadbNote    = "mariadb_upgrade_info"
	mariadbOldNote = "mysql_upgrade_info"
)

// mariadbMadeBy reads the version that the installer, or an upgrade, has left: "10.11.19-MariaDB".
func mariadbMadeBy(data string) (version string, err error) {
	made, err := os.ReadFile(filepath.Join(data, mariadbNote))
	if errors.Is(err, fs.ErrNotExist) {
		made, err = os.ReadFile(filepath.Join(data, mariadbOldNote))
	}
	full, _, _ := strings.Cut(string(made), "-")
	return minor(full), err
}

// unlogged keeps what follows in the session out of the binary log: each node has its own of it.
const unlogged = "SET SESSION sql_log_bin = OFF"

// mariadbReplaceZones fills tables of another database and then lets them change places, so that nobody ever finds half
// of the zones. While they are filled, they are not written to the log and not synced, row by row.
func mariadbReplaceZones(rows []string) []string {
	const beside = "backstay_zones"
	statements := []string{unlogged, "DROP DATABASE IF EXISTS " + beside, "CREATE DATABASE " + beside}
	var durable, swap []string
	for _, table := range zoneTables {
		there, new := "mysql."+table, beside+"."+table
		statements = append(statements, "CREATE TABLE "+new+" LIKE "+there, "ALTER TABLE "+new+" TRANSACTIONAL = 0")
		durable = append(durable, "ALTER TABLE "+new+" TRANSACTIONAL = 1")
		swap = append(swap, there+" TO "+new+"_before", new+" TO "+there)
	}
	return slices.Concat(statements, []string{"USE " + beside}, rows, durable,
		[]string{"RENAME TABLE " + strings.Join(swap, ", "), "USE mysql", "DROP DATABASE " + beside})
}

// mariadbSettings are the settings that MariaDB alone has. stack_trace is off because a server that crashes would
// log the statement that it was at.
func mariadbSettings(n engine.Node) []setting {
	return slices.Concat(binaryLog(n), replicating(n), []setting{
		{"basedir", filepath.Dir(n.Installation.Dir)},
		{"ignore_db_dirs", tmpDir},
		{"innodb_log_file_size", inBytes(logSize(n))},
		{"innodb_checksum_algorithm", "full_crc32"},
		{"aria_pagecache_buffer_size", inBytes(8 * mb)}, // of every plan: only a restart could change it
		{"query_cache_type", "OFF"},
		{"query_cache_size", "0"},
		{"log_warnings", "1"},
		{"stack_trace", "OFF"},
		{"symbolic_links", "OFF"},
		{"collation_server", "utf8mb4_general_ci"},
	})
}

// mariadbStart returns the SQL that makes the operator the only account that can log in by the Unix socket. A password
// that no one can have comes second: the server treats a user that it does not know as one of those that it knows, and
// tells of a password only if that one has any.
func mariadbStart(operator string) string {
	account := quoteText(operator) + "@'localhost'"
	return mayWrite + ";\n" + unlogged + ";\nDELETE FROM mysql.global_priv " +
		"WHERE Host = 'localhost' AND User <> 'mariadb.sys' AND User <> " + quoteText(operator) + ";\n" +
		"FLUSH PRIVILEGES;\n" +
		"CREATE OR REPLACE USER " + account + " IDENTIFIED VIA unix_socket OR mysql_native_password USING 'invalid';\n" +
		"GRANT ALL PRIVILEGES ON *.* TO " + account + " WITH GRANT OPTION;\n"
}

// Package clientenv knows how the client programs of databases learn where to connect: by which variables
// and option files. Whoever runs a program with the environment of an app stands on it, so that what its
// caller has set for some other database never decides where the program connects.
//
// It holds names and says what to do with them. It opens no file and no connection, and the credentials
// that are put in the place of what it takes away are its callers' to know.
package clientenv

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// deciding are the variables, as patterns of path.Match, that decide where a program connects, as whom, and
// whom it believes. They come from the documentation of those who read them.
var deciding = slices.Concat(
	// Cloud Foundry, and the addresses that frameworks look for.
	[]string{"VCAP_*", "DATABASE_URL", "*_DATABASE_URL", "POSTGRES_URL", "POSTGRESQL_URL", "MYSQL_URL", "MARIADB_URL",
		"REDIS_URL", "REDIS_TLS_URL", "VALKEY_URL", "DBI_DSN", "DBI_USER", "DBI_PASS"},
	// libpq 9 to 18, "Environment Variables", and Debian's pg_wrapper, which goes to the cluster that PGCLUSTER names.
	[]string{"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGREQUIREAUTH",
		"PGCHANNELBINDING", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGREALM", "PGOPTIONS", "PGREQUIRESSL", "PGSSL*",
		"PGREQUIREPEER", "PGGSS*", "PGKRBSRVNAME", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGMINPROTOCOLVERSION",
		"PGMAXPROTOCOLVERSION", "PGOAUTH*", "PGCLUSTER"},
	// MySQL and MariaDB, "Environment Variables".
	[]string{"MYSQL_*", "MYSQLX_*", "MARIADB_*"},
	// redis-cli and valkey-cli, what --help says of variables.
	[]string{"REDISCLI_AUTH", "REDISCLI_RCFILE", "VALKEYCLI_AUTH", "VALKEYCLI_RCFILE"},
)

// harmless are variables that a pattern of deciding matches, and that say only how a program looks.
var harmless = []string{"MYSQL_HISTFILE", "MYSQL_HISTIGNORE", "MYSQL_PS1", "MARIADB_HISTFILE", "MARIADB_PS1"}

// redirecting are settings that PGOPTIONS must not bring: with them a statement finds other tables.
var redirecting = []string{"search_path", "role", "session_authorization"}

// Replace returns environ without what decides where a program connects, and with variables, which win over
// those of the same names. What variables do not have, the program does not find.
func Replace(environ []string, variables map[string]string) []string {
	replaced := make(map[string]bool, len(variables))
	for name := range variables {
		replaced[canonical(name)] = true
	}
	merged := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, value, _ := strings.Cut(entry, "=")
		return replaced[canonical(name)] || Decides(name, value)
	})
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		merged = append(merged, name+"="+variables[name])
	}
	return merged
}

// Decides reports whether a variable with this value decides where a program connects.
func Decides(name, value string) bool {
	name = canonical(name)
	switch {
	case slices.Contains(harmless, name):
		return false
	case name == "PGOPTIONS":
		return redirects(value)
	}
	return slices.ContainsFunc(deciding, func(pattern string) bool {
		matches, _ := path.Match(pattern, name)
		return matches
	})
}

// redirects reports whether options of PostgreSQL say whose tables a statement finds. PostgreSQL reads a
// setting's name in any case, and a dash in it as an underscore.
func redirects(options string) bool {
	options = strings.ReplaceAll(strings.ToLower(options), "-", "_")
	return slices.ContainsFunc(redirecting, func(setting string) bool { return strings.Contains(options, setting) })
}

// canonical is a variable's name as the operating system compares it.
func canonical(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

// clients are the programs that are for one kind of service alone, by kind.
var clients = map[string][]string{
	"postgres": {
		"psql", "pg_dump", "pg_dumpall", "pg_restore", "pgbench", "pg_isready", "pg_amcheck", "pg_basebackup",
		"pg_receivewal", "pg_recvlogical", "createdb", "createuser", "dropdb", "dropuser", "clusterdb", "reindexdb",
		"vacuumdb", "vacuumlo", "oid2name", "pgcli",
	},
	"mysql": {"mysql", "mysqladmin", "mysqlanalyze", "mysqlbinlog", "mysqlcheck", "mysqldump", "mysqlimport",
		"mysqloptimize", "mysqlpump", "mysqlrepair", "mysqlshow", "mysqlslap", "mysql_upgrade",
		"mariadb", "mariadb-admin", "mariadb-analyze", "mariadb-binlog", "mariadb-check", "mariadb-dump",
		"mariadb-import", "mariadb-optimize", "mariadb-repair", "mariadb-show", "mariadb-slap", "mariadb-upgrade",
		"mariadbcheck"},
	"redis":   {"redis-cli", "valkey-cli"},
	"mongodb": {"mongosh"},
}

// Kind is the kind of service that a program is for: postgres, mysql, redis or mongodb, and "" for any other program.
func Kind(program string) string {
	name := strings.TrimSuffix(filepath.Base(program), ".exe")
	for kind, names := range clients {
		if slices.Contains(names, name) {
			return kind
		}
	}
	return ""
}

// WithoutFiles are the variables by which clients and libraries read none of the files in their user's home that
// name a server, a user or whom to believe: ~/.pgpass, ~/.pg_service.conf, what lies in ~/.postgresql, and
// ~/.mylogin.cnf. absent is a path at which nothing is. Other option files of MySQL can be kept away by arguments
// alone.
func WithoutFiles(absent string) map[string]string {
	all := map[string]string{"PGPASSFILE": absent, "PGSERVICEFILE": absent, "MYSQL_TEST_LOGIN_FILE": absent}
	// Only where there is a file to keep away: Go's pgx refuses PGSSLCERT without PGSSLKEY, and its pq any PGSSLCRL.
	for variable, file := range map[string]string{"PGSSLCERT": "postgresql.crt", "PGSSLCRL": "root.crl"} {
		if _, err := os.Stat(filepath.Join(libpqDir(), file)); err == nil {
			all[variable] = absent
		}
	}
	return all
}

// libpqDir is where libpq looks for certificates of its user ("SSL Support", "Client Certificates").
func libpqDir() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("APPDATA"), "postgresql")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return os.DevNull
	}
	return filepath.Join(home, ".postgresql")
}

// CutOptionFile takes from the arguments of a client of MySQL those at the front that say which option files
// it reads, and returns the first file that they name, "" if they name none. These arguments must stand
// before all others.
func CutOptionFile(args []string) (file string, rest []string) {
	for ; len(args) > 0; args = args[1:] {
		option, named, _ := strings.Cut(args[0], "=")
		if !slices.Contains([]string{"--no-defaults", "--defaults-file", "--defaults-extra-file"}, option) {
			break
		}
		if file == "" {
			file = named
		}
	}
	return file, args
}

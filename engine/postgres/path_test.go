package postgres_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// provocations are what the server could tell of its files about.
var provocations = []string{
	`CREATE EXTENSION absent`, `CREATE EXTENSION "../absent"`, `CREATE EXTENSION hstore VERSION '0.0'`,
	`CREATE EXTENSION postgis VERSION 'absent'`, `ALTER EXTENSION plpgsql UPDATE TO '9.9'`, `ALTER EXTENSION absent UPDATE`,
	`LOAD 'absent'`, `LOAD '$libdir/absent'`, `LOAD '$libdir/plugins/absent'`, `SET local_preload_libraries = 'absent'`,
	`CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'absent', 'f'`,
	`SET dynamic_library_path = '/x'`, `SHOW data_directory`, `SHOW config_file`, `SHOW hba_file`, `SHOW ident_file`,
	`SHOW external_pid_file`, `SHOW unix_socket_directories`, `SHOW ssl_cert_file`, `SHOW ssl_key_file`, `SHOW dynamic_library_path`,
	`SHOW log_directory`, `SELECT current_setting('data_directory')`,
	`SELECT string_agg(setting, ' ') FROM pg_settings`, `SELECT string_agg(sourcefile, ' ') FROM pg_settings`,
	`SELECT string_agg(pg_tablespace_location(oid), ' ') FROM pg_tablespace`, `SELECT pg_relation_filepath('pg_class')`,
	`SELECT * FROM pg_file_settings`, `SELECT * FROM pg_config`, `SELECT pg_current_logfile()`, `SELECT * FROM pg_ls_waldir()`,
	`SELECT * FROM pg_available_extension_versions WHERE name = 'absent'`,
	`SET timezone = 'absent'`, `SET timezone_abbreviations = 'absent'`, `SET lc_messages = 'absent'`,
	`CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = ispell, DictFile = absent, AffFile = absent)`,
	`CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple, StopWords = absent)`,
	`CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = thesaurus, DictFile = absent, Dictionary = english_stem)`,
	`CREATE COLLATION c (locale = 'absent')`, `COPY pg_class FROM 'absent'`, `SELECT lo_import('absent')`,
	`SELECT pg_read_file('absent')`, `CREATE TABLESPACE s LOCATION '/absent'`, `SET default_tablespace = 'absent'; CREATE TABLE t ()`,
	`SET temp_tablespaces = 'absent'`, `SELECT inet_server_addr()`, `IMPORT FOREIGN SCHEMA s FROM SERVER absent INTO public`,
}

// productPath is where the distribution keeps PostgreSQL's own files. The server names those that are not installed,
// in words that nothing can change: they tell no more than that this is a Debian.
const productPath = "/usr/share/postgresql/"

// serverPath finds paths of a machine, but not what only looks like one.
var serverPath = regexp.MustCompile(`(^|[\s"'=,:(])/(tmp|usr|var|etc|lib|opt|home|root|run|proc)/`)

func testPaths(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	for _, sql := range append(provocations, refusals...) {
		said := strings.Builder{}
		rows, err := c.Query(t.Context(), sql)
		for err == nil && rows.Next() {
			values, _ := rows.Values()
			for _, v := range values {
				if text, ok := v.(string); ok {
					said.WriteString(text + "\n")
				}
			}
		}
		if err == nil {
			err = rows.Err()
		}
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) {
			said.WriteString(strings.Join([]string{refusal.Message, refusal.Detail, refusal.Hint, refusal.Where}, "\n"))
		}
		for _, line := range strings.Split(said.String(), "\n") {
			found := serverPath.FindString(strings.ReplaceAll(line, productPath, ""))
			if found != "" && !strings.Contains(sql, strings.Trim(found, `"'=,:( `)) {
				t.Errorf("%s says %s", sql, line)
			}
		}
		c.do(t, `DISCARD ALL`)
	}
}

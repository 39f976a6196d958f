package clientenv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay/internal/clientenv"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	got := clientenv.Replace([]string{
		"PATH=/bin", "VCAP_SERVICES=old", "EMPTY=", "DATABASE_URL=postgres://elsewhere", "PGAPPNAME=mine",
		"PGHOSTADDR=127.0.0.9", "MYSQL_PWD=secret", "MYSQL_PS1=> ", "REDISCLI_AUTH=secret", "REDISCLI_HISTFILE=h",
		"PGUSER=me", "MARIADB_HOME=/x",
	}, map[string]string{"VCAP_SERVICES": "new", "PGUSER": "u"})
	want := []string{
		"PATH=/bin", "EMPTY=", "PGAPPNAME=mine", "MYSQL_PS1=> ", "REDISCLI_HISTFILE=h", "PGUSER=u", "VCAP_SERVICES=new",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOptionsThatRedirectAreTakenAway(t *testing.T) {
	t.Parallel()
	for options, decides := range map[string]bool{
		"-c statement_timeout=0": false, "--client-min-messages=warning": false, "": false,
		"-c search_path=other": true, "--Search-Path=other": true, "-c ROLE=admin": true,
		"-c session_authorization=x": true,
	} {
		if got := clientenv.Decides("PGOPTIONS", options); got != decides {
			t.Errorf("PGOPTIONS=%s: %t", options, got)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	for program, kind := range map[string]string{
		"/usr/bin/psql": "postgres", "pg_restore": "postgres", "mysqladmin": "mysql", "mariadb-dump": "mysql",
		"redis-cli": "redis", "mongosh": "mongodb", "sh": "", "mysqld": "",
	} {
		if got := clientenv.Kind(program); got != kind {
			t.Errorf("%s is for %q, want %q", program, got, kind)
		}
	}
}

// TestDriversBearTheVariables has Go's driver, which looks at the variables more closely than libpq, read them.
func TestDriversBearTheVariables(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for name, value := range clientenv.WithoutFiles(os.DevNull + "/absent") {
		t.Setenv(name, value)
	}
	if _, err := pgconn.ParseConfig("postgres://user:password@localhost/main?sslmode=require"); err != nil {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(home, ".postgresql"), 0o700); err != nil {
		t.Fatal(err)
	}
	for variable, file := range map[string]string{"PGSSLCERT": "postgresql.crt", "PGSSLCRL": "root.crl"} {
		if _, ok := clientenv.WithoutFiles("/absent")[variable]; ok {
			t.Errorf("%s is set where there is no %s", variable, file)
		}
		if err := os.WriteFile(filepath.Join(home, ".postgresql", file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := clientenv.WithoutFiles("/absent")[variable]; got != "/absent" {
			t.Errorf("%s is %q where there is a %s", variable, got, file)
		}
	}
}

func TestCutOptionFile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		file string
		rest []string
	}{
		{nil, "", nil},
		{[]string{"-e", "--no-defaults"}, "", []string{"-e", "--no-defaults"}},
		{[]string{"--no-defaults", "main"}, "", []string{"main"}},
		{[]string{"--defaults-file=a", "--defaults-extra-file=b", "main"}, "a", []string{"main"}},
	} {
		file, rest := clientenv.CutOptionFile(tc.args)
		if file != tc.file || !slices.Equal(rest, tc.rest) {
			t.Errorf("%q: %q, %q", tc.args, file, rest)
		}
	}
}

// The libraries on this machine read no variable that nobody has thought about: each decides where a program
// connects, or is known not to.
func TestEveryVariableOfTheClientsIsJudged(t *testing.T) {
	t.Parallel()
	innocent := strings.Fields(`PGAPPNAME PGCLIENTENCODING PGCONNECT_TIMEOUT PGDATESTYLE PGGEQO PGLOCALEDIR PGTZ
		PGDMH PGDMP MYSQL_HISTFILE MYSQL_PS1 REDISCLI_HISTFILE REDISCLI_CLUSTER_YES`)
	variable := regexp.MustCompile(`\x00((?:PG|MYSQL_|MARIADB_|REDISCLI_)[A-Z_]{2,})\x00`)
	for _, file := range clientFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range variable.FindAllSubmatch(text, -1) {
			name := string(match[1])
			judged := slices.Contains(innocent, name) || strings.HasPrefix(name, "PGRES_") // which is a status
			if !judged && !clientenv.Decides(name, "search_path") {
				t.Errorf("%s reads %s: does it decide where a program connects?", file, name)
			}
		}
	}
}

// clientFiles are libpq and the programs of MySQL and Redis, so far as they are installed.
func clientFiles(t *testing.T) (files []string) {
	t.Helper()
	if out, err := exec.Command("ldconfig", "-p").Output(); err == nil {
		files = regexp.MustCompile(`/\S*/libpq\.so\.5\b`).FindAllString(string(out), -1)
	}
	for _, program := range []string{"mysql", "mysqldump", "redis-cli"} {
		if path, err := exec.LookPath(program); err == nil {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		t.Skip("no client is installed; type: make setup")
	}
	return files
}

// scripts/psql.sh cannot ask this package, so it repeats what is libpq's.
func TestThePsqlScriptTakesTheSameAway(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../scripts/psql.sh")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("clientenv.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"(PG[A-Z]+\*?)"`).FindAllSubmatch(source, -1)
	if len(names) < 20 {
		t.Fatalf("clientenv.go names %d variables of libpq", len(names))
	}
	for _, name := range names {
		said := string(name[1])
		if prefix, ok := strings.CutSuffix(said, "*"); ok {
			said = "${!" + prefix + "@}"
		}
		if !strings.Contains(string(script), said) {
			t.Errorf("scripts/psql.sh does not take %s away", said)
		}
	}
}

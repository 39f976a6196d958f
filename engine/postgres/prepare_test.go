package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
)

// Clones of one directory are instances of their own, to every tool that reads logs; both serve.
func TestClonesDiffer(t *testing.T) {
	t.Parallel()
	e := postgres.Engine{}
	a, b := enginetest.NewNode(t, e), enginetest.NewNode(t, e)
	b.CacheDir = a.CacheDir
	b = enginetest.Private(postgres.Engine{}, b)
	var identifiers []string
	for _, n := range []engine.Node{a, b} {
		enginetest.Serve(t, e, n)
		var id string
		c := server{n}.admin(t)
		if err := c.QueryRow(t.Context(), `SELECT system_identifier::text FROM pg_control_system()`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		c.do(t, `CHECKPOINT`, `SELECT pg_switch_wal()`)
		c.want(t,
			`current_setting('data_checksums') || current_setting('fsync') || current_setting('full_page_writes')`, "ononon")
		if engine.CompareVersions(n.Installation.Version, "15") >= 0 { // as Debian and the PostgreSQL project build it
			c.want(t, `current_setting('wal_compression')`, "lz4")
		}
		identifiers = append(identifiers, id)
	}
	if identifiers[0] == identifiers[1] || strings.HasPrefix(identifiers[0], "-") {
		t.Errorf("both are %s", identifiers[0])
	}
}

// Data of another major version is kept, and not served.
func TestOtherVersionIsKept(t *testing.T) {
	t.Parallel()
	e := postgres.Engine{}
	n := enginetest.NewNode(t, e)
	if err := os.Mkdir(n.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.DataDir, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := e.Prepare(t.Context(), n)
	want := "The data was made by PostgreSQL 9 and cannot be served by PostgreSQL " + n.Installation.Version + "."
	if backstay.KindOf(err) != backstay.Unsupported || backstay.SentenceOf(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if left, err := os.ReadDir(n.DataDir); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v (%v)", left, err)
	}
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	program := func(version, name, script string) {
		dir := filepath.Join(root, version, "bin")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []struct{ dir, says string }{
		{"9", "echo 'postgres (PostgreSQL) 15.9'"}, {"a", "echo 'postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)'"},
		{"b", "echo 'postgres (PostgreSQL) 16.1'"}, {"c", "echo mysqld 8"}, {"d", "exit 1"},
	} {
		program(i.dir, "initdb", "")
		program(i.dir, "postgres", i.says)
	}
	program("e", "postgres", "echo 'postgres (PostgreSQL) 17.1'") // but no initdb
	found, err := postgres.Engine{Roots: []string{root}}.Installations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Version+"/"+f.FullVersion+"/"+filepath.Base(filepath.Dir(f.Dir)))
	}
	if s := strings.Join(got, " "); s != "16/16.1/b 15/15.18/a 15/15.9/9" {
		t.Errorf("got %s", s)
	}
}

// What PostgreSQL has against a configuration is told in its words.
func TestConfigurationIsTried(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, postgres.Engine{})
	n.Size.Connections = 1_000_000
	const want = `PostgreSQL 15 cannot be configured as it is wanted: ` +
		`1000005 is outside the valid range for parameter "max_connections" (1 .. 262143).`
	err := (postgres.Engine{}).Check(t.Context(), n)
	if backstay.KindOf(err) != backstay.Unsupported || backstay.SentenceOf(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

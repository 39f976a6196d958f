package postgres

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	admin    = "backstay" // the bootstrap superuser
	owner    = "owner"    // owns what bindings make
	reader   = "reader"   // reads it
	database = "main"
)

var (
	//go:embed golden.sql
	goldenSQL string
	//go:embed main.sql
	mainSQL string
	//go:embed walls.sql
	wallsSQL string
)

// initdbArguments: checksums, so that a rotten disk cannot pass unnoticed into backups; no sync, for
// nothing of what initdb makes is kept unless all of what follows succeeds.
var initdbArguments = []string{"--username=" + admin, "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
	"--auth=reject", "--no-sync", "--no-instructions"}

// environment of PostgreSQL's programs.
var environment = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}

// Warm makes the golden directory, if it is not there.
func (Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	if err := golden(i, cacheDir).Make(ctx); err != nil {
		return datadir.Blame(product(i), err)
	}
	return nil
}

// product is what users know it by.
func product(i engine.Installation) string { return "PostgreSQL " + i.Version }

// golden holds all that nodes have in common, so that making one needs no SQL.
func golden(i engine.Installation, cacheDir string) datadir.Golden {
	return datadir.Golden{
		CacheDir: cacheDir, Name: "postgres-" + i.Version, Release: i.FullVersion, User: "postgres", Env: environment,
		Recipe:  fmt.Sprintf("%q %q %q %q", i.Dir, initdbArguments, goldenSQL, mainSQL+walls()),
		Build:   func(w *datadir.Workshop) error { return build(w, i) },
		Verdict: lastLine,
	}
}

// walls is walls.sql with what may be created filled in, signed with its edition.
func walls() string {
	sql := strings.ReplaceAll(wallsSQL, "ALLOWED", "'"+strings.Join(Extensions(), "', '")+"'")
	return sql + "\nCOMMENT ON EVENT TRIGGER backstay_read_only IS '" + edition() + "';\n"
}

// edition names what walls.sql makes, so that an instance shows whether it has it.
func edition() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(wallsSQL+strings.Join(Extensions(), " "))))
}

// build leaves a directory that was shut down in order, whose log is one segment with nothing in it.
func build(w *datadir.Workshop, i engine.Installation) error {
	run := func(stdin, program string, args ...string) error {
		return w.Run(stdin, filepath.Join(i.Dir, program), args...)
	}
	single := []string{
		"--single", "-j", "-D", w.Data, "-c", "exit_on_error=on", "-c", "fsync=off", "-c", "wal_recycle=off",
		"-c", "log_min_error_statement=panic",
	}
	if err := run("", "initdb", slices.Concat(initdbArguments, []string{"--pgdata=" + w.Data})...); err != nil {
		return err
	}
	if err := run(goldenSQL, "postgres", slices.Concat(single, []string{"template1"})...); err != nil {
		return err
	}
	if err := run(mainSQL+"\n"+walls(), "postgres", slices.Concat(single, []string{database})...); err != nil {
		return err
	}
	if err := run("", "pg_resetwal", "-D", w.Data); err != nil { // refuses after a crash
		return err
	}
	return punchLogs(w.Data)
}

// lastLine is where a program of PostgreSQL's says why it failed.
func lastLine(said string) string {
	said = strings.TrimSpace(said)
	return said[strings.LastIndexByte(said, '\n')+1:]
}

package mongodb

import (
	"context"
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
	database = "postgres" // where DocumentDB keeps all of MongoDB's databases
)

//go:embed golden.sql
var goldenSQL string

// environment is that of the product's programs.
var environment = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}

// initdbArguments ask for checksums, so that a failing disk is noticed, and for no syncing, since a directory that is
// not finished is thrown away.
var initdbArguments = []string{"--username=" + admin, "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
	"--auth=reject", "--no-sync", "--no-instructions"}

// libraries are those that DocumentDB wants to have loaded, in this order.
const libraries = "pg_cron,pg_documentdb_core,pg_documentdb"

// Warm makes the golden directory, if it is not there.
func (Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	if err := golden(i, cacheDir).Make(ctx); err != nil {
		return datadir.Blame(called(i), err)
	}
	return nil
}

// called returns the name by which users know an installation: "FerretDB 2".
func called(i engine.Installation) string { return product + " " + i.Version }

// golden is the data directory that all nodes of an installation begin as.
func golden(i engine.Installation, cacheDir string) datadir.Golden {
	return datadir.Golden{
		CacheDir: cacheDir, Name: "ferretdb-" + i.Version, User: "postgres", Env: environment,
		Release: strings.ReplaceAll(i.FullVersion, " ", "-"),
		Recipe:  fmt.Sprintf("%q %s", initdbArguments, goldenSQL),
		Build:   func(w *datadir.Workshop) error { return build(w, i) },
		Verdict: lastLine,
	}
}

// build makes the golden directory. It has been shut down in an orderly way, and its write-ahead log is one empty
// segment.
func build(w *datadir.Workshop, i engine.Installation) error {
	run := func(stdin, program string, args ...string) error {
		return w.Run(stdin, filepath.Join(i.Dir, program), args...)
	}
	if err := run("", "initdb", slices.Concat(initdbArguments, []string{"--pgdata=" + w.Data})...); err != nil {
		return err
	}
	err := run(goldenSQL, "postgres", "--single", "-j", "-D", w.Data, "-c", "exit_on_error=on", "-c", "fsync=off",
		"-c", "log_min_error_statement=panic", "-c", "shared_preload_libraries="+libraries,
		"-c", "cron.database_name="+database, database)
	if err != nil {
		return err
	}
	return run("", "pg_resetwal", "-D", w.Data) // refuses after a crash
}

// lastLine returns the last line of what a program of PostgreSQL's said: there it says why it failed.
func lastLine(said string) string {
	said = strings.TrimSpace(said)
	return said[strings.LastIndexByte(said, '\n')+1:]
}

package mongodb

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	admin    = pgserver.Admin
	database = "postgres" // where DocumentDB keeps all of MongoDB's databases
)

var (
	//go:embed golden.sql
	goldenSQL string
	//go:embed walls.sql
	wallsSQL string
)

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
		CacheDir: cacheDir, Name: "ferretdb-" + i.Version + "-" + serverVersion(i), User: "postgres",
		Env:     pgserver.Environment,
		Release: strings.ReplaceAll(i.FullVersion, " ", "-"),
		Recipe:  fmt.Sprintf("%q %s", pgserver.InitdbArguments(""), goldenSQL+wallsSQL),
		Build:   func(w *datadir.Workshop) error { return build(w, i) },
		Verdict: pgserver.LastLine,
	}
}

// build makes the golden directory. It has been shut down in an orderly way, and its write-ahead log is one empty
// segment.
func build(w *datadir.Workshop, i engine.Installation) error {
	run := func(stdin, program string, args ...string) error {
		return w.Run(stdin, filepath.Join(i.Dir, program), args...)
	}
	if err := run("", "initdb", append(pgserver.InitdbArguments(""), "--pgdata="+w.Data)...); err != nil {
		return err
	}
	arguments := pgserver.SingleUser(w.Data, database)
	arguments = slices.Insert(arguments, len(arguments)-1, "-c", "shared_preload_libraries="+libraries,
		"-c", "cron.database_name="+database)
	if err := run(goldenSQL+"\n"+wallsSQL, "postgres", arguments...); err != nil {
		return err
	}
	if err := run("", "pg_resetwal", "-D", w.Data); err != nil { // refuses after a crash
		return err
	}
	return pgserver.PunchLogs(w.Data)
}

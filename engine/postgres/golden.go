package postgres

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	admin    = pgserver.Admin
	owner    = "owner"  // owns what bindings make
	reader   = "reader" // reads it
	database = "main"
)

var (
	//go:embed roles.sql
	rolesSQL string
	//go:embed golden.sql
	goldenSQL string
	//go:embed rights.sql
	rightsSQL string
	//go:embed main.sql
	mainSQL string
	//go:embed walls.sql
	wallsSQL string
	//go:embed collations.sql
	collationsSQL string
)

// Warm makes the golden directories of the usual collations, if they are not there.
func (Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	for _, name := range []string{"C.UTF-8", usualCollation} {
		locale, err := parseCollation(name, i)
		if err != nil {
			continue // this version does not have it
		}
		if err := golden(i, cacheDir, locale).Make(ctx); err != nil {
			return datadir.Blame(product(i), err)
		}
	}
	return nil
}

// product returns the name by which users know an installation: "PostgreSQL 15".
func product(i engine.Installation) string { return "PostgreSQL " + i.Version }

// golden is the data directory that all nodes of an installation and a collation begin as: a clone of it needs no SQL.
func golden(i engine.Installation, cacheDir, locale string) datadir.Golden {
	return datadir.Golden{
		CacheDir: cacheDir, Name: "postgres-" + i.Version, Release: i.FullVersion, User: "postgres",
		Env:     pgserver.Environment,
		Recipe:  fmt.Sprintf("%q %q %q", pgserver.InitdbArguments(locale), rolesSQL+goldenSQL, rightsSQL+mainSQL+walls()),
		Build:   func(w *datadir.Workshop) error { return build(w, i, locale) },
		Verdict: pgserver.LastLine,
	}
}

// walls returns collations.sql and walls.sql, with their edition as a comment on one of the event triggers, and on
// another the extensions that are supported where the platform says nothing else.
func walls() string {
	return collationsSQL + "\n" + wallsSQL + "\n" + supported(Extensions()) + ";\n" +
		"COMMENT ON EVENT TRIGGER backstay_read_only IS '" + edition() + "';\n"
}

// supportedTrigger is the event trigger whose comment lists the extensions that may be created.
const supportedTrigger = "backstay_extension"

// supported returns the statement that has these extensions, and no others, be created.
func supported(names []string) string {
	return "COMMENT ON EVENT TRIGGER " + supportedTrigger + " IS " + quoteText(strings.Join(names, " "))
}

// edition returns a text that changes with what walls returns, so that an instance shows which one it was made with.
func edition() string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(collationsSQL+wallsSQL+strings.Join(Extensions(), " "))))
}

// build makes the golden directory. It has been shut down in an orderly way, and its write-ahead log is one empty
// segment.
func build(w *datadir.Workshop, i engine.Installation, locale string) error {
	run := func(stdin, program string, args ...string) error {
		return w.Run(stdin, filepath.Join(i.Dir, program), args...)
	}
	arguments := append(pgserver.InitdbArguments(locale), "--pgdata="+w.Data)
	if err := run("", "initdb", arguments...); err != nil {
		return err
	}
	if err := run(rolesSQL+"\n"+goldenSQL, "postgres", pgserver.SingleUser(w.Data, "template1")...); err != nil {
		return err
	}
	if err := run(rightsSQL+"\n"+mainSQL+"\n"+walls(), "postgres", pgserver.SingleUser(w.Data, database)...); err != nil {
		return err
	}
	if err := run("", "pg_resetwal", "-D", w.Data); err != nil { // refuses after a crash
		return err
	}
	return pgserver.PunchLogs(w.Data)
}

package mysql

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	database = "main"
	charset  = "utf8mb4"
	tmpDir   = "tmp" // in the data directory
)

// Warm makes the golden directory, if it is not there.
func (e Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	g, err := e.golden(ctx, i, cacheDir)
	if err == nil {
		err = g.Make(ctx)
	}
	if err != nil {
		return datadir.Blame(called(i), err)
	}
	return nil
}

// called returns the name by which users know an installation: "MariaDB 10.11".
func called(i engine.Installation) string { return dialectOf(i).product + " " + i.Version }

// beside returns the path of a program in a directory next to the server's, where Debian puts it.
func beside(i engine.Installation, program string) string {
	return filepath.Join(filepath.Dir(i.Dir), program)
}

// golden is the data directory that all nodes of an installation begin as: a clone of it needs no SQL. A new one is
// made when the machine's time zones have changed. One is made without zones where they cannot be read: Tend says why.
func (e Engine) golden(ctx context.Context, i engine.Installation, cacheDir string) (datadir.Golden, error) {
	d := dialectOf(i)
	mark, err := zonesMark(e.zonesDir())
	return datadir.Golden{
		CacheDir: cacheDir, Name: strings.ToLower(d.product) + "-" + i.Version, Release: i.FullVersion,
		User: "mysql", Env: environment, Recipe: fmt.Sprintf("%s %s", d.recipe, mark),
		Build: func(w *datadir.Workshop) error {
			var zones strings.Builder
			statements, _ := zoneStatements(ctx, i, e.zonesDir())
			for _, s := range statements {
				zones.WriteString(s + ";\n")
			}
			if err := d.build(w, i, zones.String()); err != nil {
				return err
			}
			return os.Mkdir(filepath.Join(w.Data, tmpDir), 0o700)
		},
		Verdict: func(said string) string { return verdictOf(d, said) },
	}, err
}

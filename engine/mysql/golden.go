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
func (Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	if err := golden(i, cacheDir).Make(ctx); err != nil {
		return datadir.Blame(called(i), err)
	}
	return nil
}

// called is what users know an installation by.
func called(i engine.Installation) string { return dialectOf(i).product + " " + i.Version }

// beside returns a program that lies beside the directory of the server, as Debian has it.
func beside(i engine.Installation, program string) string {
	return filepath.Join(filepath.Dir(i.Dir), program)
}

// golden holds all that nodes have in common, so that making one needs no SQL.
func golden(i engine.Installation, cacheDir string) datadir.Golden {
	d := dialectOf(i)
	return datadir.Golden{
		CacheDir: cacheDir, Name: strings.ToLower(d.product) + "-" + i.Version, Release: i.FullVersion,
		User: "mysql", Env: environment, Recipe: fmt.Sprintf("%q %s", i.Dir, d.recipe),
		Build: func(w *datadir.Workshop) error {
			if err := d.build(w, i); err != nil {
				return err
			}
			return os.Mkdir(filepath.Join(w.Data, tmpDir), 0o700)
		},
		Verdict: func(said string) string { return verdictOf(d, said) },
	}
}

package mysql

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	database    = "main"
	tmpDir      = "tmp"                // in the data directory
	versionFile = "mysql_upgrade_info" // in the data directory, by the installer
)

//go:embed golden.sql
var goldenSQL string

// buildArguments: a small log, which every node gives the size it wants at its first start, and no
// sync, for nothing is kept unless all succeeds.
var buildArguments = []string{"--innodb-log-file-size=4M", "--innodb-flush-method=nosync", "--skip-log-bin",
	"--character-set-server=" + charset, "--collation-server=" + collation}

// installArguments: the installer's own administrator comes in over the Unix socket alone, until the
// node's first start makes it the node's.
var installArguments = []string{"--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"}

// Warm makes the golden directory, if it is not there.
func (Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	if err := golden(i, cacheDir).Make(ctx); err != nil {
		return datadir.Blame(product(i), err)
	}
	return nil
}

// product is what users know it by.
func product(i engine.Installation) string { return "MariaDB " + i.Version }

// golden holds all that nodes have in common, so that making one needs no SQL.
func golden(i engine.Installation, cacheDir string) datadir.Golden {
	return datadir.Golden{
		CacheDir: cacheDir, Name: "mariadb-" + i.Version, Release: i.FullVersion, User: "mysql", Env: environment,
		Recipe:  fmt.Sprintf("%q %q %q %q", i.Dir, installArguments, buildArguments, goldenSQL),
		Build:   func(w *datadir.Workshop) error { return build(w, i) },
		Verdict: verdictOf,
	}
}

func build(w *datadir.Workshop, i engine.Installation) error {
	// Each server removes, when it starts, what temporary tables it finds in its directory for them.
	directories := []string{"--no-defaults", "--datadir=" + w.Data, "--tmpdir=" + w.Dir}
	// The installer lies beside the directory of the server, as Debian has it.
	install := filepath.Join(filepath.Dir(i.Dir), "bin", installer)
	if err := w.Run("", install, slices.Concat(directories, installArguments, buildArguments)...); err != nil {
		return err
	}
	server := filepath.Join(i.Dir, program)
	if err := w.Run(goldenSQL, server, slices.Concat(directories, []string{"--bootstrap"}, buildArguments)...); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(w.Data, tmpDir), 0o700)
}

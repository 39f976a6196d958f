package mysql

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/engine"
)

// Traces names the directories of the programs, which hold others too, and those of what the server loads and reads.
func (e Engine) Traces() []string {
	var traces []string
	for _, root := range e.roots() {
		for _, below := range []string{"sbin", "bin", "lib/mysql/plugin", "share/mysql"} {
			traces = append(traces, filepath.Join(root, below))
		}
	}
	return traces
}

// Files returns the server, the programs that make its data directories, and what it loads and reads from below its
// base directory. Not every package has all of it.
func (Engine) Files(i engine.Installation) (root string, names []string, err error) {
	root = filepath.Dir(i.Dir)
	d := dialectOf(i)
	for _, wanted := range append([]string{filepath.Join("sbin", d.program), d.zones[0]}, d.files...) {
		there, err := filepath.Glob(filepath.Join(root, wanted))
		if err != nil {
			return "", nil, err
		}
		for _, path := range there {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return "", nil, err
			}
			names = append(names, name)
		}
	}
	return root, names, nil
}

// Report runs the server.
func (Engine) Report(ctx context.Context, i engine.Installation) (full string, err error) {
	found, err := dialectOf(i).installation(ctx, i.Dir)
	return found.FullVersion, err
}

// Returns reports true for MariaDB, and for MySQL from 8.4 on: within a version these go both ways. Data that MySQL 8.0
// has served it refuses to serve with an earlier build.
func (Engine) Returns(i engine.Installation, build string) bool {
	return dialectOf(i).product == mariadb.product || engine.CompareVersions(i.FullVersion, build) <= 0 ||
		engine.CompareVersions(i.Version, "8.4") >= 0
}

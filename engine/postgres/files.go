package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
)

// PostgreSQL finds its libraries and what it shares from the place that it runs in, as long as these lie to each other
// as they did when it was built. Debian's has them in lib/postgresql/15 and share/postgresql/15 below one directory.

// sharedDir is where the installation has what its programs read: what is known of extensions, and what initdb makes
// data directories from.
func sharedDir(i engine.Installation) string {
	return filepath.Join(rootOf(i), "share", "postgresql", i.Version)
}

// rootOf returns the directory that the installation's lib/postgresql/15/bin lies in.
func rootOf(i engine.Installation) string {
	dir := i.Dir
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return filepath.Join(dir, "..", "..", "..", "..")
}

// Traces names what the packages of a version put files into: the server's, its extensions' and those beside it.
func (e Engine) Traces() []string {
	traces := e.roots()
	for _, root := range e.roots() {
		for _, below := range []string{"bin", "lib", "lib/plugins"} {
			traces = append(traces, filepath.Join(root, "*", below))
		}
		traces = append(traces, filepath.Join(root, "../../share/postgresql/*/extension"))
	}
	return traces
}

// Files leaves out the manual, scripts that the server does not read, and what its compiler would read to inline
// functions: half of all files, for what sessions must ask for.
func (Engine) Files(i engine.Installation) (root string, names []string, err error) {
	root = rootOf(i)
	programs := filepath.Join("lib", "postgresql", i.Version)
	dir, err := filepath.EvalSymlinks(i.Dir)
	if err != nil {
		return "", nil, err
	}
	shared, err := filepath.Glob(filepath.Join(sharedDir(i), "*"))
	if err != nil {
		return "", nil, err
	}
	if dir != filepath.Join(root, programs, "bin") || len(shared) == 0 {
		return "", nil, fmt.Errorf("%s is not laid out as Debian's PostgreSQL is", i.Dir)
	}
	libraries, err := filepath.Glob(filepath.Join(root, programs, "lib", "*"))
	if err != nil {
		return "", nil, err
	}
	names = []string{filepath.Join(programs, "bin")}
	for _, path := range slices.Concat(libraries, shared) {
		if base := filepath.Base(path); base != "man" && base != "contrib" && base != "bitcode" {
			names = append(names, strings.TrimPrefix(path, root+"/"))
		}
	}
	return root, names, nil
}

// Report runs the programs that a node needs.
func (Engine) Report(ctx context.Context, i engine.Installation) (full string, err error) {
	return versionIn(ctx, i.Dir)
}

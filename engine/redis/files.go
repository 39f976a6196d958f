package redis

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/engine"
)

// Traces names the programs' directories, which hold others too.
func (e Engine) Traces() []string { return e.dirs() }

// Files returns the server alone: it is one program.
func (Engine) Files(i engine.Installation) (root string, names []string, err error) {
	return i.Dir, []string{productOf(i).program}, nil
}

// Report runs the server.
func (Engine) Report(ctx context.Context, i engine.Installation) (full string, err error) {
	return productOf(i).version(ctx, filepath.Clean(i.Dir))
}

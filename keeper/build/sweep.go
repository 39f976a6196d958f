package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
)

// Use is a build that an instance wants, or that its process runs from.
type Use struct {
	Engine  string
	Version string
	Build   string // its full version; empty: any of that version
	Dir     string // where its programs are; empty: it has not been started
}

// Sweep removes the copies that neither the machine has nor anybody uses, and what was left half made.
func (s *Store) Sweep(ctx context.Context, uses []Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name := range s.Engines {
		installed, err := s.installed(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, i := range s.kept(name) {
			if !slices.Contains(installed, i) && !used(i, name, installed, uses) {
				s.Log.Info("a build is kept no longer: nobody uses it", "engine", name, "build", i.FullVersion, "dir", i.Dir)
				errs = append(errs, s.remove(name, i))
			}
		}
		errs = append(errs, s.removeParts(name))
	}
	return errors.Join(errs...)
}

// used tells whether somebody runs from the copy, or wants that build where the machine has none like it.
func used(kept engine.Installation, name string, installed []engine.Installation, uses []Use) bool {
	return slices.ContainsFunc(uses, func(u Use) bool {
		return u.Engine == name && (u.Dir == kept.Dir || u.takes(kept) && !slices.ContainsFunc(installed, u.takes))
	})
}

// takes tells whether that build is one that the use is of.
func (u Use) takes(i engine.Installation) bool {
	return i.Version == u.Version && (u.Build == "" || i.FullVersion == u.Build)
}

// remove removes a copy: its name first, so that nobody finds half of it.
func (s *Store) remove(name string, i engine.Installation) error {
	dir := CopyOf(s.Dir, name, i)
	if err := putAside(dir); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(asideOf(dir)), atomicfile.SyncDir(filepath.Dir(dir)))
}

// CopyOf returns the directory of the copy that an installation is in, below the one in which builds are kept. It is
// empty for one that is in none.
func CopyOf(dir, name string, i engine.Installation) string {
	below, ok := strings.CutPrefix(i.Dir, filepath.Join(dir, name)+"/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(below, "/")
	return filepath.Join(dir, name, first)
}

func (s *Store) removeParts(name string) error {
	parts, err := filepath.Glob(filepath.Join(s.Dir, name, "*"+partSuffix))
	for _, part := range parts {
		err = errors.Join(err, os.RemoveAll(part))
	}
	return err
}

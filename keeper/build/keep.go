package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/keeper/node"
)

// manifest is the file in a copy that says what it is: an installation, with its directory as a path below the copy.
const manifest = "build.json"

// partSuffix ends the names of copies that are being made, or removed.
const partSuffix = ".part"

// keep returns the copy of an installation, which it makes if there is none.
func (s *Store) keep(ctx context.Context, name string, i engine.Installation) (engine.Installation, error) {
	k, ok := s.Engines[name].(engine.Keepable)
	if !ok {
		return i, nil
	}
	root, files, err := k.Files(i)
	if err != nil {
		return i, err
	}
	mark, err := fingerprint(root, files)
	if err != nil {
		return i, err
	}
	below, err := filepath.Rel(root, realDir(i.Dir))
	if err != nil {
		return i, err
	}
	dir := filepath.Join(s.Dir, name, i.FullVersion+"-"+mark)
	kept := i
	kept.Dir = filepath.Join(dir, below)
	if slices.Contains(s.kept(name), kept) && s.runs(ctx, name, kept) {
		return kept, nil
	}
	err = s.create(dir, func(part string) error {
		if err := clone.Link(part, root, files); err != nil {
			return err
		}
		if now, err := fingerprint(root, files); err != nil || now != mark {
			return cmp.Or(err, errReplacing)
		}
		return s.finish(ctx, name, i, part, below)
	})
	return kept, err
}

// realDir is dir without symbolic links.
func realDir(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir
}

// create makes the directory of a copy whole or not at all. One of that name, which did not run when it was tried,
// makes room once the new one has run: on a machine under load it may be well, and nodes live in it.
func (s *Store) create(dir string, fill func(part string) error) (err error) {
	above, part := filepath.Dir(dir), dir+partSuffix
	if err := errors.Join(node.MakeDir(above, node.ThroughMode()), os.RemoveAll(part)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	if err := fill(part); err != nil {
		return err
	}
	if err := putAside(dir); err != nil {
		return err
	}
	if err := os.Rename(part, dir); err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(above), os.RemoveAll(asideOf(dir)))
}

// putAside takes a copy its name, as one step, so that nobody finds half of it whenever we are killed. An absent one is
// success.
func putAside(dir string) error {
	if err := os.RemoveAll(asideOf(dir)); err != nil {
		return err
	}
	if err := os.Rename(dir, asideOf(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// asideOf is the name of a copy that is about to be removed.
func asideOf(dir string) string { return dir + ".old" + partSuffix }

// finish makes sure that a copy runs where it lies, as it does not where the file system has no programs, and says in
// it what it is.
func (s *Store) finish(ctx context.Context, name string, i engine.Installation, part, below string) error {
	copied := i
	copied.Dir = filepath.Join(part, below)
	full, err := s.Engines[name].(engine.Keepable).Report(ctx, copied)
	if err != nil {
		return fmt.Errorf("run it from %s: %w", s.Dir, err)
	}
	if full != i.FullVersion {
		return errReplacing
	}
	i.Dir = below
	encoded, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(part, manifest), encoded, 0o644)
}

// warn tells once that nodes run from where a build is installed: whatever replaces that ends it.
func (s *Store) warn(name string, i engine.Installation, err error) {
	for _, before := range s.seen[name].installed {
		if before == i {
			return
		}
	}
	s.Log.Warn("a build cannot be kept: its nodes run from where it is installed, and change it with the package",
		"engine", name, "build", i.FullVersion, "dir", i.Dir, "error", err)
}

// Kept lists the copies of an engine's builds below a directory, newest first, and of the same version the one that was
// made last. What cannot be read is left out.
func Kept(dir, name string) []engine.Installation {
	paths, _ := filepath.Glob(filepath.Join(dir, name, "*", manifest))
	slices.SortFunc(paths, func(a, b string) int { return modified(b).Compare(modified(a)) })
	var kept []engine.Installation
	for _, path := range paths {
		if i, err := readManifest(path); err == nil {
			kept = append(kept, i)
		}
	}
	slices.SortStableFunc(kept, engine.NewestFirst)
	return kept
}

// Running returns the copy that a program lies in, if it does.
func (s *Store) Running(name, program string) (engine.Installation, bool) {
	for _, i := range s.kept(name) {
		if strings.HasPrefix(program, CopyOf(s.Dir, name, i)+"/") {
			return i, true
		}
	}
	return engine.Installation{}, false
}

// SizeOf returns what a copy takes of the disk. Files that it shares with what is installed take nothing.
func SizeOf(dir string) (size backstay.Bytes, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && (stat.Nlink == 1 || d.IsDir()) {
			size += backstay.Bytes(stat.Blocks) * 512
		}
		return nil
	})
	return size, err
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (s *Store) kept(name string) []engine.Installation { return Kept(s.Dir, name) }

func readManifest(path string) (i engine.Installation, err error) {
	dir := filepath.Dir(path)
	if strings.HasSuffix(dir, partSuffix) {
		return i, fs.ErrNotExist
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &i)
	}
	i.Dir = filepath.Join(dir, i.Dir)
	return i, err
}

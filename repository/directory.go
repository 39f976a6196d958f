package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/atomicfile"
)

// directory is a part of a repository that is a directory. An object is a file of its name.
type directory struct{ root, part string }

// halfDir is where files are until they are whole. No object can have its name.
const halfDir = ".half"

func (d directory) path(name ...string) string {
	return filepath.Join(append([]string{d.root, d.part}, name...)...)
}

func (d directory) put(ctx context.Context, name string, r io.Reader) error {
	if err := d.there(); err != nil {
		return err
	}
	if err := d.makeAll(halfDir, filepath.Dir(name)); err != nil {
		return d.trouble(err)
	}
	half, err := os.CreateTemp(d.path(halfDir), "") // with mode 0600
	if err != nil {
		return d.trouble(err)
	}
	defer os.Remove(half.Name()) // after the rename there is nothing of that name
	if _, err := io.Copy(writes{ctx, d, half}, r); err != nil {
		half.Close()
		return err
	}
	err = errors.Join(half.Sync(), half.Close())
	if err == nil {
		err = os.Rename(half.Name(), d.path(name))
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(d.path(name)))
	}
	return d.trouble(err)
}

// there fails if the directory of the repository is not there. It is never made here: where its disk is not mounted,
// what would be made is a directory on another one.
func (d directory) there() error {
	_, err := os.Stat(d.root)
	return d.trouble(err)
}

// makeAll makes directories in the part, and the part itself.
func (d directory) makeAll(names ...string) error {
	for _, name := range names {
		made := d.root
		for word := range strings.SplitSeq(filepath.Join(d.part, name), "/") {
			above := made
			made = filepath.Join(made, word)
			err := os.Mkdir(made, 0o700)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			if err = errors.Join(err, atomicfile.SyncDir(above)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d directory) get(ctx context.Context, name string) (io.ReadCloser, error) {
	f, err := os.Open(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.there(); err != nil {
			return nil, err
		}
		return nil, absent(name)
	}
	if err != nil {
		return nil, d.trouble(err)
	}
	return reads{ctx, d, f}, nil
}

func (d directory) list(ctx context.Context, prefix string) ([]Entry, error) {
	if err := d.there(); err != nil {
		return nil, err
	}
	var entries []Entry
	above := prefix[:strings.LastIndex(prefix, "/")+1] // tools with a repository of their own have many files beside it
	err := filepath.WalkDir(d.path(above), func(path string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile, or no part yet
			return nil
		case err != nil:
			return err
		case e.IsDir() && e.Name() == halfDir:
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		name, _ := filepath.Rel(d.path(), path) // it lies below
		if !strings.HasPrefix(name, prefix) || check(name) != nil {
			return nil
		}
		if info, err := e.Info(); err == nil {
			entries = append(entries, entryOf(name, info.Size(), info.ModTime()))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err == nil {
		err = d.there() // what goes away in the middle looks as if nothing were in it
	}
	return entries, d.trouble(err)
}

func (d directory) remove(ctx context.Context, names []string) error {
	if err := d.there(); err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := atomicfile.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.trouble(err)
		}
	}
	return nil
}

// any takes what a put has left that died for no object.
func (d directory) any(ctx context.Context) (bool, error) {
	entries, err := d.list(ctx, "")
	return len(entries) > 0, err
}

func (d directory) name() string { return d.root }

func (d directory) sweep(_ context.Context, before time.Time) error {
	halves, err := os.ReadDir(d.path(halfDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.trouble(err)
	}
	for _, half := range halves {
		info, err := half.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // gone, or somebody writes to it
		}
		if err := os.Remove(d.path(halfDir, half.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.trouble(err)
		}
	}
	return nil
}

// writes writes to a file of a directory as long as somebody waits for it.
type writes struct {
	ctx context.Context
	in  directory
	to  *os.File
}

func (w writes) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n, err := w.to.Write(p)
	return n, w.in.trouble(err)
}

// reads reads a file of a directory as long as somebody waits for it.
type reads struct {
	ctx  context.Context
	in   directory
	from *os.File
}

func (r reads) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	n, err := r.from.Read(p)
	if err == io.EOF {
		return n, err
	}
	return n, r.in.trouble(err)
}

func (r reads) Close() error { return r.from.Close() }

func (d directory) words(context.Context) (words []string, err error) {
	if err := d.there(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.path())
	for _, e := range entries {
		if e.IsDir() && wordy.MatchString(e.Name()) {
			words = append(words, e.Name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return words, d.trouble(err)
}

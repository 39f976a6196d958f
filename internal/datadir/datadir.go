// Package datadir makes the data directories of engines and keeps their configuration up to date. A directory is made
// whole or not at all, also when the power fails, and fast, as a clone of a golden directory that was made once. The
// package runs the programs that an engine names, and knows no engine: what is in a directory is not its business.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
)

// Create makes the directory dir, which must not exist. It has fill make a directory of another name, syncs that to
// the disk, and renames it. What a killed Create has left behind is removed first.
func Create(dir string, fill func(part string) error) (err error) {
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part)) // a full disk is not left fuller
		}
	}()
	if err := fill(part); err != nil {
		return err
	}
	return publish(part, dir)
}

// publish syncs a directory that is complete to the disk, and renames it.
func publish(part, dir string) error {
	if err := clone.Sync(part); err != nil {
		return err
	}
	if err := os.Rename(part, dir); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}

// WriteFiles gives the files in dir, keyed by name, these contents. A file that has them already is left alone;
// another one is replaced, whole or not at all, by one that only uid and gid can read (-1 is ours). The directory
// may belong to a server that was broken into, so links out of it are not followed.
func WriteFiles(dir string, uid, gid int, files map[string]string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	changed := false
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if content, err := root.ReadFile(name); err == nil && string(content) == files[name] {
			continue
		}
		if err := replace(root, name, uid, gid, files[name]); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return atomicfile.SyncDir(dir)
}

func replace(root *os.Root, name string, uid, gid int, content string) error {
	part := name + ".part"
	if err := root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f, uid, gid, content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(part, name)
}

// Fill writes the files, keyed by name, into a directory that [Create] is still making, so that only uid and gid can
// read them (-1 is ours). Existing files are overwritten. Nothing is synced: Create syncs everything at once.
func Fill(part string, uid, gid int, files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := os.OpenFile(filepath.Join(part, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(write(f, uid, gid, files[name]), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func write(f *os.File, uid, gid int, content string) error {
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if uid == -1 && gid == -1 {
		return nil
	}
	return f.Chown(uid, gid)
}

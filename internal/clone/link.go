package clone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/atomicfile"
)

// Link makes dst, which must not exist, a directory that holds the named files and directories of src at the same
// places. Files in it are hard links where the file system and our rights allow that, and copies elsewhere: when a file
// of src is replaced by another, as packages do it, dst still has the one before. Nobody but the owner may write to the
// directories. A program that runs with its owner's rights, whoever starts it, is left out: what is wrong with it would
// outlive its package. What Link made is safe from a power failure, but for dst's own name: that is its parent's to
// keep.
func Link(dst, src string, names []string) error {
	l := &linker{dst: dst, src: src, names: names, made: map[string]bool{}}
	l.files.SetLimit(copiers)
	var errs []error
	for _, name := range names {
		errs = append(errs, l.add(name))
	}
	if err := errors.Join(append(errs, l.files.Wait())...); err != nil {
		return fmt.Errorf("link %s: %w", src, err)
	}
	var waiting errgroup.Group
	waiting.SetLimit(syncers)
	for dir := range l.made {
		waiting.Go(func() error { return atomicfile.SyncDir(dir) })
	}
	return waiting.Wait()
}

type linker struct {
	dst, src string
	names    []string
	made     map[string]bool // directories
	files    errgroup.Group
}

// add links what has that name in src, and all below it. A name that is a symbolic link is what it leads to.
func (l *linker) add(name string) error {
	from, err := filepath.EvalSymlinks(filepath.Join(l.src, name))
	if err != nil {
		return err
	}
	to := filepath.Join(l.dst, name)
	if err := l.makeDir(filepath.Dir(to)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return l.visit(to+strings.TrimPrefix(path, from), path, d)
	})
}

func (l *linker) makeDir(dir string) error {
	if l.made[dir] {
		return nil
	}
	if dir != l.dst {
		if err := l.makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	l.made[dir] = true
	return os.Chmod(dir, 0o755)
}

func (l *linker) visit(to, from string, d fs.DirEntry) error {
	switch d.Type() {
	case fs.ModeDir:
		return l.makeDir(to)
	case fs.ModeSymlink:
		return l.symlink(to, from)
	case 0:
		info, err := d.Info()
		if err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return err
		}
		if os.Link(from, to) == nil {
			return nil
		}
		l.files.Go(func() error { return copySynced(to, from) })
		return nil
	}
	return fmt.Errorf("%s is neither a file nor a directory nor a symbolic link", from)
}

// symlink makes a link that leads to the same file as before: one that would lead out of dst names it from the root.
// Another name for a link is quicker to have than another link, by far.
func (l *linker) symlink(to, from string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if there := filepath.Join(filepath.Dir(from), target); !filepath.IsAbs(target) && !l.has(there) {
		target = there
	} else if os.Link(from, to) == nil {
		return nil
	}
	return os.Symlink(target, to)
}

// has tells whether a path of src is among what is linked.
func (l *linker) has(path string) bool {
	for _, name := range l.names {
		linked := filepath.Join(l.src, name)
		if path == linked || strings.HasPrefix(path, linked+"/") {
			return true
		}
	}
	return false
}

func copySynced(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	c := copier{uid: -1, gid: -1}
	if err := c.copyFile(to, from, info); err != nil {
		return err
	}
	return syncFile(to)
}

// Package clone copies directory trees fast enough to stand in for making them anew. Where the file
// system can share blocks it shares them; elsewhere it copies what is there and only reserves what is
// not. It knows nothing of what lies in the files.
package clone

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// copiers keep every processor busy: between page cache and page cache a copy is work for the kernel.
var copiers = 2 * runtime.NumCPU()

// syncers wait for the disk, which merges their waiting: 64 take half as long as 8 (1000 files, ext4).
const syncers = 64

// Copy makes dst, which must not exist, a copy of the directory src: directories, regular files and
// symbolic links, with their permissions. All of it belongs to uid and gid; -1 leaves them to be our
// own. Holes in files become space that is reserved but not written, so a later write into them
// cannot fail for want of room. What Copy made is safe from a power failure only after [Sync].
func Copy(dst, src string, uid, gid int) error {
	c := copier{dst: dst, src: src, uid: uid, gid: gid}
	c.files.SetLimit(copiers)
	walked := filepath.WalkDir(src, c.visit)
	if err := errors.Join(walked, c.files.Wait()); err != nil {
		return fmt.Errorf("clone %s: %w", src, err)
	}
	return c.finishDirectories()
}

type copier struct {
	dst, src string
	uid, gid int
	files    errgroup.Group
	made     []directory
}

type directory struct {
	path string
	mode fs.FileMode
}

func (c *copier) visit(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	relative, err := filepath.Rel(c.src, path)
	if err != nil {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	to := filepath.Join(c.dst, relative)
	switch info.Mode().Type() {
	case fs.ModeDir:
		c.made = append(c.made, directory{to, info.Mode().Perm()})
		return os.Mkdir(to, 0o700)
	case fs.ModeSymlink:
		return c.copyLink(to, path)
	case 0:
		c.files.Go(func() error { return c.copyFile(to, path, info) })
		return nil
	}
	return fmt.Errorf("%s is neither a file nor a directory nor a symbolic link", path)
}

// finishDirectories gives directories away last, deepest first: nobody else may be in one while we
// still work there, and one without write permission must have been filled.
func (c *copier) finishDirectories() error {
	for i := len(c.made) - 1; i >= 0; i-- {
		d := c.made[i]
		if err := os.Chmod(d.path, d.mode); err != nil {
			return err
		}
		if err := os.Lchown(d.path, c.uid, c.gid); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) copyLink(to, from string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if err := os.Symlink(target, to); err != nil {
		return err
	}
	return os.Lchown(to, c.uid, c.gid)
}

func (c *copier) copyFile(to, from string, info fs.FileInfo) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := copyData(out, in, info.Size(), copyRange); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if info.Mode().Perm() != 0o600 {
		if err := out.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if c.uid == -1 && c.gid == -1 {
		return nil
	}
	return out.Chown(c.uid, c.gid)
}

// File makes a file, which must not exist, a copy of an open one as it is now. It can be read by us alone.
func File(to string, from *os.File) error { return file(to, from, copyRange) }

// FileSlowly is File for a copy that nobody waits for: it works half of the time, so that others get to the disk.
func FileSlowly(to string, from *os.File) error { return file(to, from, copyRangeSlowly) }

// ranger copies a part of a file.
type ranger func(out, in *os.File, at, length int64) error

func file(to string, from *os.File, data ranger) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyData(out, from, info.Size(), data), out.Close())
}

func copyData(out, in *os.File, size int64, part ranger) error {
	if size == 0 || unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data = size // nothing but a hole from here on
		} else if err != nil {
			return err
		}
		if err := reserve(out, at, data-at); err != nil || data == size {
			return err
		}
		hole, err := unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := part(out, in, data, hole-data); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

// reserve makes the hole in out real, as far as the file system can: else it stays a hole.
func reserve(out *os.File, at, length int64) error {
	if length == 0 {
		return nil
	}
	err := unix.Fallocate(int(out.Fd()), 0, at, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return growTo(out, at+length)
	}
	return err
}

func growTo(out *os.File, size int64) error {
	info, err := out.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return out.Truncate(size)
}

// copyRange leaves the copying to the kernel where it can do it (copy_file_range).
func copyRange(out, in *os.File, at, length int64) error {
	if _, err := in.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(out, in, length)
	return err
}

// copyRangeSlowly pauses after each piece for as long as the piece took.
func copyRangeSlowly(out, in *os.File, at, length int64) error {
	const piece = 4 << 20
	for end := at + length; at < end; at += piece {
		began := time.Now()
		if err := copyRange(out, in, at, min(piece, end-at)); err != nil {
			return err
		}
		time.Sleep(time.Since(began))
	}
	return nil
}

// Sync makes the tree below dir safe from a power failure, but for dir's own name: that is its
// parent's to keep. It is fsync of each file rather than syncfs, which is quicker on an idle machine
// but would also wait for whatever all the neighbours have written.
func Sync(dir string) error {
	var waiting errgroup.Group
	waiting.SetLimit(syncers)
	var directories []string
	walked := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			directories = append(directories, path)
		} else if d.Type().IsRegular() {
			waiting.Go(func() error { return syncFile(path) })
		}
		return nil
	})
	err := errors.Join(walked, waiting.Wait())
	for _, d := range directories {
		waiting.Go(func() error { return syncOpened(d) })
	}
	if err := errors.Join(err, waiting.Wait()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// syncFile skips empty files: their name and owner are safe with their directory.
func syncFile(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Size() == 0 {
		return err
	}
	return syncOpened(path)
}

func syncOpened(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

package clone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Room returns an error that is ENOSPC if the file system of the directory beside has no room for a copy of src there.
// A file system that shares blocks needs next to none.
func Room(src, beside string) error {
	if shares(beside) {
		return nil
	}
	need, err := Size(src)
	if err != nil {
		return err
	}
	var there unix.Statfs_t
	if err := unix.Statfs(beside, &there); err != nil {
		return err
	}
	if free := int64(there.Bavail) * there.Bsize; free < need {
		return fmt.Errorf("copy %d bytes where %d are free: %w", need, free, syscall.ENOSPC)
	}
	return nil
}

// Size returns how many bytes the files below dir take on the disk. Files that go meanwhile do not count.
func Size(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && d.Type().IsRegular() {
			size += stat.Blocks * 512
		}
		return nil
	})
	return size, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// shares tells whether files in dir can share blocks.
func shares(dir string) bool {
	from, err := os.CreateTemp(dir, ".shares-")
	if err != nil {
		return false
	}
	defer os.Remove(from.Name())
	defer from.Close()
	to, err := os.CreateTemp(dir, ".shares-")
	if err != nil {
		return false
	}
	defer os.Remove(to.Name())
	defer to.Close()
	_, err = from.Write([]byte{0})
	return err == nil && unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil
}

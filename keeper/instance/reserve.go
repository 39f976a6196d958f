package instance

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// Reserve is room on the disk that nothing uses until the disk is full. Then it is given up, so that a change can be
// written down and carried out, above all the one that brings more room.
type Reserve struct {
	Path string
	mu   sync.Mutex
}

// reserveSize is enough for some hundred records, and for the files that engines write at a start.
const reserveSize = 8 * backstay.MB

// Keep makes the reserve whole again, unless the disk has little more room than that.
func (r *Reserve) Keep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, err := os.Lstat(r.Path); err == nil && info.Size() >= int64(reserveSize) {
		return nil
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(r.Path), &disk); err != nil {
		return err
	}
	if free := backstay.Bytes(int64(disk.Bavail) * disk.Bsize); free < 4*reserveSize {
		return nil
	}
	f, err := os.OpenFile(r.Path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, int64(reserveSize)), f.Close())
	if err != nil { // a part would be taken for the whole, and some file systems can set nothing aside
		return errors.Join(err, os.Remove(r.Path))
	}
	return nil
}

// Spend gives the reserve up, and tells whether there was one.
func (r *Reserve) Spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return os.Remove(r.Path) == nil
}

// isFull tells whether err says that a disk has no room left.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

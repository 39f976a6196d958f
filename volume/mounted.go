package volume

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// mounted is a volume that is held open, and what was seen of it.
type mounted struct {
	dir       *os.File
	fs        unix.Statfs_t
	size      backstay.Bytes // promised
	empty     backstay.Bytes // what is in use without files
	ballast   backstay.Bytes // what the ballast takes
	inodes    backstay.Bytes // of ext4
	allocated backstay.Bytes // what the image takes of the pool
}

func (m *mounted) close() { m.dir.Close() }

// free is what can be written.
func (m *mounted) free() backstay.Bytes { return backstay.Bytes(int64(m.fs.Bavail) * m.fs.Bsize) }

// inUse is what is neither free nor ballast, with the tables of inodes that ext4 has written and does not count.
func (m *mounted) inUse() backstay.Bytes {
	return backstay.Bytes(int64(m.fs.Blocks-m.fs.Bavail)*m.fs.Bsize) - m.ballast + m.inodes
}

// used is what files take.
func (m *mounted) used() backstay.Bytes { return max(0, m.inUse()-m.empty) }

// room is what could be written by the volume's size.
func (m *mounted) room() backstay.Bytes { return min(max(0, m.size-m.used()), m.free()+m.ballast) }

// owed is what the volume may take of the pool besides its free room, because the file system has set it aside
// already: its log, and files whose space was reserved and not yet written.
func (m *mounted) owed() backstay.Bytes { return max(0, m.used()+Log-m.allocated) }

// open holds a mounted volume open, which keeps it from being unmounted. It is NotFound if it is not mounted.
func (v volume) open() (*mounted, error) {
	m, err := v.look()
	if err != nil {
		return nil, err
	}
	m.size, err = number(v.image, sizeAttribute)
	if err == nil {
		m.empty, err = number(v.image, emptyAttribute)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// look holds a mounted volume open, of which it may not be known how large it is to be.
func (v volume) look() (*mounted, error) {
	dir, err := os.Open(v.mountPoint)
	if err != nil {
		return nil, absent(err)
	}
	m := &mounted{dir: dir}
	var image, here, above unix.Stat_t
	err = errors.Join(
		unix.Stat(v.image, &image),
		unix.Fstat(int(dir.Fd()), &here), unix.Stat(filepath.Dir(v.mountPoint), &above),
		m.weigh())
	if err == nil && here.Dev == above.Dev {
		err = os.ErrNotExist
	}
	if err != nil {
		m.close()
		return nil, absent(err)
	}
	m.allocated = backstay.Bytes(image.Blocks * 512)
	return m, nil
}

func absent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return backstay.Wrapf(err, backstay.NotFound, "There is no such volume.")
	}
	return err
}

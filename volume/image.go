package volume

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
)

// volume is where the parts of one volume lie.
type volume struct {
	image, mountPoint string
}

func (p *Images) volume(id backstay.InstanceID) volume {
	return volume{
		image:      filepath.Join(p.Root, string(id)+".img"),
		mountPoint: filepath.Join(p.Mounts, string(id)),
	}
}

func (p *Images) preparedImage(kind *fileSystem) string {
	return filepath.Join(p.Root, kind.prepared+".img")
}

// prepare makes the empty file system that all images of a kind are copies of, unless it is there: full of ballast.
func (p *Images) prepare(ctx context.Context, kind *fileSystem) error {
	p.preparing.Lock()
	defer p.preparing.Unlock()
	prepared := p.preparedImage(kind)
	if exists(prepared) {
		return nil
	}
	lock, err := lockDir(p.Root)
	if err != nil {
		return err
	}
	defer lock.Close()
	scratch := volume{image: prepared + halfMade, mountPoint: filepath.Join(p.Root, kind.prepared)}
	if err := errors.Join(os.MkdirAll(scratch.mountPoint, 0o711), scratch.unmount(ctx)); err != nil {
		return err
	}
	err = makeWhole(prepared, func(f *os.File) error {
		err := errors.Join(f.Truncate(int64(kind.size)), kind.makeIn(ctx, f.Name(), lock))
		if err != nil {
			return err
		}
		return errors.Join(scratch.fillWithBallast(ctx, f, kind), scratch.unmount(ctx), dig(f))
	})
	return errors.Join(err, unix.Rmdir(scratch.mountPoint))
}

// lockDir makes a directory, and waits until nobody else has the lock of it: the program that makes a file system may
// have outlived its caller, and still write to the image that is to be made again.
func lockDir(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// fillWithBallast makes a new file system full, and records what is in use besides.
func (v volume) fillWithBallast(ctx context.Context, image *os.File, kind *fileSystem) error {
	if err := v.mount(ctx, kind); err != nil {
		return err
	}
	m, err := v.look()
	if err != nil {
		return err
	}
	defer m.close()
	if err := m.setBallast(m.free()); err != nil {
		return err
	}
	if err := m.weigh(); err != nil {
		return err
	}
	return setNumber(image, emptyAttribute, m.inUse())
}

// clone makes the image as a copy of the prepared one, with what is to be known of it, unless it is there.
func (p *Images) clone(v volume, wanted Wanted) error {
	kind := wanted.kind()
	if exists(v.image) {
		return v.check(kind)
	}
	empty, err := number(p.preparedImage(kind), emptyAttribute)
	if err != nil {
		return err
	}
	prepared, err := os.Open(p.preparedImage(kind))
	if err != nil {
		return err
	}
	defer prepared.Close()
	return makeWhole(v.image, func(f *os.File) error {
		if err := copyThin(f, prepared, int64(kind.size)); err != nil {
			return err
		}
		return errors.Join(setNumber(f, emptyAttribute, empty), setNumber(f, sizeAttribute, wanted.Size), kind.record(f))
	})
}

// makeWhole makes a file that has its name only when it is whole and safe from a power failure.
func makeWhole(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path+halfMade, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+halfMade))
	}
	if err := os.Rename(path+halfMade, path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// copyThin makes to a copy of from, by reference where the disk can, else of what was written.
func copyThin(to, from *os.File, size int64) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	if err := to.Truncate(size); err != nil {
		return err
	}
	return eachWritten(from, func(at, length int64) error {
		_, err := io.Copy(io.NewOffsetWriter(to, at), io.NewSectionReader(from, at, length))
		return err
	})
}

// dig makes holes of what was written as zeros, or was only reserved: mkfs.xfs does so with the whole log.
func dig(f *os.File) error {
	const step = int64(64 * backstay.KB)
	zeros, block := make([]byte, step), make([]byte, step)
	return eachWritten(f, func(at, length int64) error {
		for end := at + length; at < end; at += step {
			n, err := f.ReadAt(block[:min(step, end-at)], at)
			if err != nil {
				return err
			}
			if !bytes.Equal(block[:n], zeros[:n]) {
				continue
			}
			const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
			if err := unix.Fallocate(int(f.Fd()), mode, at, int64(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachWritten calls do with each range of the file that is no hole.
func eachWritten(f *os.File, do func(at, length int64) error) error {
	for at := int64(0); ; {
		data, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole from here on
			return nil
		}
		if err != nil {
			return err
		}
		if at, err = f.Seek(data, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := do(data, at-data); err != nil {
			return err
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

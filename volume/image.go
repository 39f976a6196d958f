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

func (p *Images) preparedImage(fs *fileSystem) string {
	return filepath.Join(p.Root, fs.prepared+".img")
}

// prepare makes the empty file system that other images are copies of, unless it is there: full of ballast.
func (p *Images) prepare(ctx context.Context, fs *fileSystem) error {
	p.preparing.Lock()
	defer p.preparing.Unlock()
	prepared := p.preparedImage(fs)
	if exists(prepared) {
		return nil
	}
	lock, err := lockDir(p.Root)
	if err != nil {
		return err
	}
	defer lock.Close()
	scratch := volume{image: prepared + halfMade, mountPoint: filepath.Join(p.Root, fs.prepared)}
	if err := errors.Join(os.MkdirAll(scratch.mountPoint, 0o711), scratch.unmount(ctx)); err != nil {
		return err
	}
	err = makeWhole(prepared, func(f *os.File) error {
		err := errors.Join(f.Truncate(int64(fs.size)), fs.makeIn(ctx, f.Name(), lock))
		if err != nil {
			return err
		}
		return errors.Join(scratch.fillWithBallast(ctx, f, fs), scratch.unmount(ctx), dig(f))
	})
	return errors.Join(err, unix.Rmdir(scratch.mountPoint))
}

// lockDir makes a directory, and waits until nobody else has the lock of it: the program that makes a file system may
// have outlived its caller, and still write to the image that is to be made again.
func lockDir(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	return lock(os.Open(path))
}

// lock waits until nobody else has the lock of what was opened.
func lock(file *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// fillWithBallast makes a new file system full, and records what is in use besides.
func (v volume) fillWithBallast(ctx context.Context, image *os.File, fs *fileSystem) error {
	if err := v.mount(ctx, &kind{fileSystem: fs, device: openLoop}, ""); err != nil {
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

// clone makes the image as a copy of the prepared one, with what is to be known of it, unless it is there. What kind it
// is to be is known first: more than a file may be left of what is half-made.
func (p *Images) clone(ctx context.Context, v volume, k *kind, wanted Wanted) error {
	if exists(v.image) {
		return nil
	}
	empty, err := number(p.preparedImage(k.fileSystem), emptyAttribute)
	if err != nil {
		return err
	}
	prepared, err := os.Open(p.preparedImage(k.fileSystem))
	if err != nil {
		return err
	}
	defer prepared.Close()
	if err := unmap(ctx, v.image+halfMade); err != nil {
		return err
	}
	return makeWhole(v.image, func(f *os.File) error {
		if err := k.record(f); err != nil {
			return err
		}
		if err := k.copy(ctx, f, prepared, wanted.Key); err != nil {
			return err
		}
		return errors.Join(setNumber(f, emptyAttribute, empty), setNumber(f, sizeAttribute, wanted.Size))
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

// copyPlain makes an image as a copy of the prepared one, by reference where the disk can, else of what was written.
func copyPlain(_ context.Context, image, prepared *os.File, _ backstay.Secret) error {
	if unix.IoctlFileClone(int(image.Fd()), int(prepared.Fd())) == nil {
		return nil
	}
	info, err := prepared.Stat()
	if err != nil {
		return err
	}
	return errors.Join(image.Truncate(info.Size()), copyWritten(image, prepared))
}

// copyWritten copies what was written of a file, to the same places of another one.
func copyWritten(to io.WriterAt, from *os.File) error {
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

package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
)

const (
	preparedName = "prepared"

	// imageSize is how long each image is, and largest how large a volume can be within it. XFS takes the rest for notes
	// about itself that are written as needed. The file system is that large from the beginning, as it has parts of one
	// size for ever: one that grows from 2 GB to 2 TB would have thousands, and be slow.
	imageSize = 8 * backstay.TB
	largest   = 7 * backstay.TB

	// logSize is the least that mkfs.xfs accepts. All of it is written to the pool in time.
	logSize = 64 * backstay.MB
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

func (p *Images) preparedImage() string { return filepath.Join(p.Root, preparedName+".img") }

// prepare makes the empty file system that all images are copies of, unless it is there. All of it is ballast.
func (p *Images) prepare(ctx context.Context) error {
	p.preparing.Lock()
	defer p.preparing.Unlock()
	prepared := p.preparedImage()
	if exists(prepared) {
		return nil
	}
	scratch := volume{image: prepared + halfMade, mountPoint: filepath.Join(p.Root, preparedName)}
	err := errors.Join(
		os.MkdirAll(p.Root, 0o700), os.MkdirAll(scratch.mountPoint, 0o711), scratch.unmount(ctx))
	if err != nil {
		return err
	}
	err = makeWhole(prepared, func(f *os.File) error {
		err := errors.Join(f.Truncate(int64(imageSize)), makeFileSystem(ctx, f.Name()))
		if err != nil {
			return err
		}
		return errors.Join(scratch.fillWithBallast(f), scratch.unmount(ctx), dig(f))
	})
	return errors.Join(err, unix.Rmdir(scratch.mountPoint))
}

func makeFileSystem(ctx context.Context, image string) error {
	size := fmt.Sprintf("size=%d", logSize)
	output, err := exec.CommandContext(ctx, "mkfs.xfs", "-q", "-f", "-K", "-l", size, image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.xfs: %w: %s", err, output)
	}
	return nil
}

// fillWithBallast makes a new file system full, and records what is in use besides.
func (v volume) fillWithBallast(image *os.File) error {
	if err := v.mount(); err != nil {
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
	if err := errors.Join(m.weigh(), unix.Fstatfs(int(m.dir.Fd()), &m.fs)); err != nil {
		return err
	}
	return setNumber(image, emptyAttribute, m.inUse()-m.ballast)
}

// clone makes the image as a copy of the prepared one, with its sizes recorded, unless it is there.
func (p *Images) clone(v volume, size backstay.Bytes) error {
	if exists(v.image) {
		return nil
	}
	empty, err := number(p.preparedImage(), emptyAttribute)
	if err != nil {
		return err
	}
	prepared, err := os.Open(p.preparedImage())
	if err != nil {
		return err
	}
	defer prepared.Close()
	return makeWhole(v.image, func(f *os.File) error {
		if err := copyThin(f, prepared, int64(imageSize)); err != nil {
			return err
		}
		return errors.Join(setNumber(f, emptyAttribute, empty), setNumber(f, sizeAttribute, size))
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

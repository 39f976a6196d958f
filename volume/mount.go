package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// mount mounts the image, unless that is done. A file system that has ended itself behind an error of the disk is
// mounted anew: it is mended by its log, if the disk works again.
func (v volume) mount(ctx context.Context, k *kind, key backstay.Secret) error {
	if v.isDead() {
		if err := v.unmount(ctx); err != nil {
			return err
		}
	}
	if mounted, err := isMounted(v.mountPoint); err != nil || mounted {
		return err
	}
	device, err := k.device(ctx, v.image, key)
	if err != nil {
		return err
	}
	defer device.Close()
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
	if err := unix.Mount(device.Name(), v.mountPoint, k.name, flags, k.options); err != nil {
		return fmt.Errorf("mount %s: %w", v.image, err)
	}
	return nil
}

// makeMountPoint makes a directory for the volume, unless it is there: it cannot be looked at while the volume is dead.
func (v volume) makeMountPoint() error {
	if err := os.MkdirAll(filepath.Dir(v.mountPoint), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(v.mountPoint, 0o711); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// isDead tells whether the file system at the mount point answers nothing but errors, or, as ext4, can be read but not
// written to behind one. To touch it tells that, and takes no room.
func (v volume) isDead() bool {
	dir, err := os.Open(v.mountPoint)
	if err == nil {
		err = errors.Join(unix.Futimes(int(dir.Fd()), nil), dir.Close())
	}
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EROFS)
}

// isMounted tells whether a file system is mounted at dir, which it shows by another device than its parent's, or by
// being dead.
func isMounted(dir string) (bool, error) {
	var here, above unix.Stat_t
	if err := unix.Stat(dir, &here); err != nil {
		if errors.Is(err, unix.EIO) {
			return true, nil
		}
		return false, err
	}
	if err := unix.Stat(filepath.Dir(dir), &above); err != nil {
		return false, err
	}
	return here.Dev != above.Dev, nil
}

// unmountPatience is for processes that are about to end, and for Balance, which looks into volumes for an instant.
const unmountPatience = 2 * time.Second

// unmount unmounts the volume, unless it is not mounted. The kernel then frees its devices; behind a crash, one may be
// left that never was mounted.
func (v volume) unmount(ctx context.Context) error {
	if err := v.leave(ctx); err != nil {
		return err
	}
	return unmap(ctx, v.image)
}

// leave unmounts what is mounted at the mount point.
func (v volume) leave(ctx context.Context) error {
	for began := time.Now(); ; {
		mounted, err := isMounted(v.mountPoint)
		if err != nil || !mounted {
			return ignoreAbsent(err)
		}
		err = unix.Unmount(v.mountPoint, unix.UMOUNT_NOFOLLOW)
		if err == nil {
			continue // it may be mounted twice
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("unmount %s: %w", v.mountPoint, err)
		}
		if ctx.Err() != nil || time.Since(began) > unmountPatience {
			return backstay.Wrapf(err, backstay.Busy, "A process still uses the volume at %s.", v.mountPoint)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

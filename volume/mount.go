package volume

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// mount mounts the image, unless that is done.
func (v volume) mount(kind *fileSystem) error {
	if mounted, err := isMounted(v.mountPoint); err != nil || mounted {
		return err
	}
	device, err := attach(v.image)
	if err != nil {
		return fmt.Errorf("attach %s: %w", v.image, err)
	}
	defer device.Close()
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
	if err := unix.Mount(device.Name(), v.mountPoint, kind.name, flags, kind.options); err != nil {
		return fmt.Errorf("mount %s: %w", v.image, err)
	}
	return nil
}

// isMounted tells whether a file system is mounted at dir, which it shows by another device than its parent's.
func isMounted(dir string) (bool, error) {
	var here, above unix.Stat_t
	if err := unix.Stat(dir, &here); err != nil {
		return false, err
	}
	if err := unix.Stat(filepath.Dir(dir), &above); err != nil {
		return false, err
	}
	return here.Dev != above.Dev, nil
}

// unmountPatience is for processes that are about to end, and for Balance, which looks into volumes for an instant.
const unmountPatience = 2 * time.Second

// unmount unmounts the volume, unless it is not mounted. The kernel then frees its loop device.
func (v volume) unmount(ctx context.Context) error {
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

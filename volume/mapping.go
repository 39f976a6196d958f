package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// mapping is a device of the device mapper over an image, by its name. That tells the image by its disk and inode,
// which no other file gets while there is the mapping: so no two Backstays of a machine have one name for two images,
// and whatever was left of an image is found by it.
type mapping string

func mappingOf(image *os.File) (mapping, error) {
	var file unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &file); err != nil {
		return "", err
	}
	return mapping(fmt.Sprintf("backstay-%x-%x", file.Dev, file.Ino)), nil
}

// open opens the device.
func (m mapping) open() (*os.File, error) {
	dev, err := m.control(unix.DM_DEV_STATUS, 0)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", m, err)
	}
	return os.OpenFile(fmt.Sprintf("/dev/dm-%d", unix.Minor(dev)), os.O_RDWR, 0)
}

// release has the kernel remove the mapping as soon as it has no user, which may be at once.
func (m mapping) release() error {
	_, err := m.control(unix.DM_DEV_REMOVE, unix.DM_DEFERRED_REMOVE)
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("have %s removed: %w", m, err)
	}
	return nil
}

// remove removes the mapping, if there is one. It is Busy while somebody uses it: the kernel itself, which may still
// remove it, and whoever looks at each new device do so for an instant.
func (m mapping) remove(ctx context.Context) error {
	for began := time.Now(); ; {
		_, err := m.control(unix.DM_DEV_REMOVE, 0)
		switch {
		case err == nil || errors.Is(err, unix.ENXIO):
			return ignoreAbsent(os.Remove("/dev/mapper/" + string(m))) // where there is no udev, the name stays
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("remove %s: %w", m, err)
		case ctx.Err() != nil || time.Since(began) > unmountPatience:
			return backstay.Wrapf(err, backstay.Busy, "A process still uses the encrypted device %s.", m)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// control asks the device mapper to do something with the mapping, and returns which device that is. It is ENXIO where
// there is no such mapping, or no device mapper.
func (m mapping) control(request uintptr, flags uint32) (device uint64, err error) {
	file, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return 0, unix.ENXIO
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	asked := unix.DmIoctl{Version: [3]uint32{4}, Flags: flags, Data_size: uint32(unsafe.Sizeof(unix.DmIoctl{}))}
	copy(asked.Name[:len(asked.Name)-1], m)
	err = control(file, request, unsafe.Pointer(&asked))
	return asked.Dev, err
}

package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// openLoop opens the loop device that has the image, for one that needs no key.
func openLoop(_ context.Context, image string, _ backstay.Secret) (*os.File, error) {
	device, err := attach(image)
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", image, err)
	}
	return device, nil
}

// attach opens the loop device that has the image, or gives the image a new one. Two devices on one image would be two
// file systems that do not know of each other. A new device is freed by the kernel as soon as nobody has it open and
// nothing of it is mounted.
func attach(image string) (*os.File, error) {
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if device, err := attached(file); err != nil || device != nil {
		return device, err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		device, err := attachToFree(control, file)
		if errors.Is(err, unix.EBUSY) { // somebody else took it since
			continue
		}
		return device, err
	}
}

func attachToFree(control, file *os.File) (*os.File, error) {
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file.Name())
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		return nil, errors.Join(err, device.Close())
	}
	return device, nil
}

// attached finds the loop device that has the file, by the file itself, as names may have changed. It returns nil if
// there is none.
func attached(file *os.File) (*os.File, error) {
	var wanted unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &wanted); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		device, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_RDWR, 0)
		if err != nil { // it went, or is for reading only
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
		if err == nil && info.Inode == wanted.Ino && info.Device == wanted.Dev {
			return device, nil
		}
		device.Close()
	}
	return nil, nil
}

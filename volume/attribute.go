package volume

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// What is to be known of a volume lies beside its image's data, in the pool: it can be written even if the volume is
// full, and cannot get lost without it.
const (
	sizeAttribute  = "user.backstay.size"  // how large the volume is to be
	emptyAttribute = "user.backstay.empty" // what its file system has in use without files
	kindAttribute  = "user.backstay.kind"  // its file system, by name
)

// promise records the size of the volume, unless it is to keep the one that it has. It outlives a power failure then.
func (v volume) promise(size backstay.Bytes) error {
	had, err := number(v.image, sizeAttribute)
	if err != nil || size == 0 || had == size {
		return err
	}
	image, err := os.Open(v.image)
	if err != nil {
		return err
	}
	defer image.Close()
	return errors.Join(setNumber(image, sizeAttribute, size), image.Sync())
}

// number reads an attribute. It is NotFound if there is no such image.
func number(image, attribute string) (backstay.Bytes, error) {
	text := make([]byte, 32)
	n, err := unix.Getxattr(image, attribute, text)
	if err != nil {
		return 0, absent(fmt.Errorf("read %s of %s: %w", attribute, image, err))
	}
	number, err := strconv.ParseInt(string(text[:n]), 10, 64)
	return backstay.Bytes(number), err
}

func setNumber(image *os.File, attribute string, number backstay.Bytes) error {
	text := strconv.AppendInt(nil, int64(number), 10)
	if err := unix.Fsetxattr(int(image.Fd()), attribute, text, 0); err != nil {
		return fmt.Errorf("record %s of %s: %w", attribute, image.Name(), err)
	}
	return nil
}

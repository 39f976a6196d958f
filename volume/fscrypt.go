package volume

import (
	"crypto/hkdf"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// unlock gives the key of an encrypted volume to the kernel, which keeps it until the volume is unmounted, and makes
// the directory in which everything is encrypted, since the root of ext4 cannot be. Nothing is locked in a plain one.
func (v volume) unlock(key backstay.Secret) error {
	if key == "" {
		return nil
	}
	if err := os.MkdirAll(v.dir(encrypted), 0o711); err != nil {
		return err
	}
	dir, err := os.Open(v.dir(encrypted))
	if err != nil {
		return err
	}
	defer dir.Close()
	policy := unix.FscryptPolicyV2{
		Version:                   unix.FSCRYPT_POLICY_V2,
		Contents_encryption_mode:  unix.FSCRYPT_MODE_AES_256_XTS,
		Filenames_encryption_mode: unix.FSCRYPT_MODE_AES_256_CTS,
		Flags:                     unix.FSCRYPT_POLICY_FLAGS_PAD_32,
	}
	if policy.Master_key_identifier, err = addKey(dir, key); err != nil {
		return err
	}
	err = control(dir, unix.FS_IOC_SET_ENCRYPTION_POLICY, unsafe.Pointer(&policy))
	if errors.Is(err, unix.EEXIST) {
		return backstay.Wrapf(err, backstay.Invalid, "The key is not that of the volume at %s.", v.mountPoint)
	}
	if err != nil {
		return fmt.Errorf("encrypt %s: %w", dir.Name(), err)
	}
	return nil
}

// addKey gives the kernel a key for the file system that the directory is on, and returns the name that the kernel
// derives from the key.
func addKey(dir *os.File, key backstay.Secret) (name [unix.FSCRYPT_KEY_IDENTIFIER_SIZE]byte, err error) {
	var given struct {
		unix.FscryptAddKeyArg
		raw [unix.FSCRYPT_MAX_KEY_SIZE]byte
	}
	defer clear(given.raw[:])
	// Kernels before 5.16 want as many bytes as AES-256-XTS has keys.
	raw, err := hkdf.Key(sha512.New, []byte(key.Reveal()), nil, "backstay volume fscrypt", len(given.raw))
	if err != nil {
		return name, err
	}
	defer clear(raw)
	copy(given.raw[:], raw)
	given.Key_spec.Type = unix.FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER
	given.Raw_size = uint32(len(given.raw))
	if err := control(dir, unix.FS_IOC_ADD_ENCRYPTION_KEY, unsafe.Pointer(&given)); err != nil {
		return name, fmt.Errorf("add a key for %s: %w", dir.Name(), err)
	}
	copy(name[:], given.Key_spec.U[:])
	return name, nil
}

func control(file *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// reserve makes the ballast of ext4, which is a number that the kernel keeps while it is mounted: so many blocks are
// given to nobody.
func (m *mounted) reserve(size backstay.Bytes) error {
	var dir unix.Stat_t
	if err := unix.Fstat(int(m.dir.Fd()), &dir); err != nil {
		return err
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dir.Dev), unix.Minor(dir.Dev)))
	if err != nil {
		return err
	}
	blocks := max(0, size+blockSize-1) / blockSize
	path := filepath.Join("/sys/fs/ext4", filepath.Base(device), "reserved_clusters")
	return os.WriteFile(path, strconv.AppendInt(nil, int64(blocks), 10), 0)
}

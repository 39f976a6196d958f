package volume

import (
	"context"
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

// The root of ext4 is never encrypted. In it is a directory that is, which is mounted in the root's place.
const (
	ext4Root     = 2 // its inode
	encryptedDir = "encrypted"
)

// unlockFiles gives the key of an encrypted volume to the kernel, which keeps it until the volume is unmounted, and has
// the mount point be the directory in which everything is encrypted.
func unlockFiles(_ context.Context, v volume, key backstay.Secret) error {
	path := v.mountPoint
	var top unix.Stat_t
	if err := unix.Stat(path, &top); err != nil {
		return err
	}
	atRoot := top.Ino == ext4Root
	if atRoot {
		path = filepath.Join(path, encryptedDir)
	}
	if err := errors.Join(os.MkdirAll(path, 0o711), encrypt(path, key)); err != nil || !atRoot {
		return err
	}
	if err := unix.Mount(path, v.mountPoint, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s in the place of the root: %w", path, err)
	}
	return nil
}

// tryFiles makes a whole volume.
func tryFiles(ctx context.Context, p *Images, k *kind, id backstay.InstanceID) error {
	wanted := Wanted{Size: portion, Key: "no secret"}
	return try(ctx, append(p.makeSteps(id, k, wanted), p.mountSteps(id, k, wanted)...))
}

// encrypt has everything in a directory be encrypted with the key. It is Invalid if it is with another one.
func encrypt(path string, key backstay.Secret) error {
	dir, err := os.Open(path)
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
		return backstay.Wrapf(err, backstay.Invalid, "The key is not that of the volume.")
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

package volume

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
)

// luksHeader is what lies before the data in an image: two descriptions, and one slot, in which the key that everything
// is encrypted with is sealed by that of the volume.
const luksHeader = backstay.MB

// luks is recorded on images with such a header.
const luks = "luks2"

// luksFormat makes the header. The key of a volume is random, so nothing is won by making it slow to guess. Sectors are
// those of the prepared image.
var luksFormat = []string{"luksFormat", "--batch-mode", "--type", "luks2",
	"--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", "512",
	"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
	"--luks2-metadata-size", "16k", "--luks2-keyslots-size", "256k", "--offset", fmt.Sprint(int64(luksHeader / 512))}

// copyEncrypted makes an image with a header, and copies the prepared one into what is encrypted.
func copyEncrypted(ctx context.Context, image, prepared *os.File, key backstay.Secret) error {
	if err := formatEncrypted(ctx, image, key); err != nil {
		return err
	}
	device, err := openMapping(ctx, image.Name(), key)
	if err != nil {
		return err
	}
	defer device.Close()
	return errors.Join(clearLog(device, prepared), copyWritten(device, prepared), device.Sync())
}

// formatEncrypted makes the header in an image that nobody else uses any more, and that has nothing else in it.
func formatEncrypted(ctx context.Context, image *os.File, key backstay.Secret) error {
	lock, err := lockImage(ctx, image.Name())
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := errors.Join(image.Truncate(0), image.Truncate(int64(xfs.size+luksHeader))); err != nil {
		return err
	}
	loop, err := attach(image.Name())
	if err != nil {
		return fmt.Errorf("attach %s: %w", image.Name(), err)
	}
	defer loop.Close()
	return cryptsetup(ctx, key, []*os.File{lock, loop}, append(slices.Clip(luksFormat), "--key-file", "-", loop.Name())...)
}

// tryMapping makes an image that nothing is copied to, as that takes long. Where it can be opened, XFS can be mounted
// as on plain volumes.
func tryMapping(ctx context.Context, p *Images, k *kind, id backstay.InstanceID) error {
	const key = "no secret"
	image, err := os.OpenFile(p.volume(id).image+halfMade, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer image.Close()
	if err := errors.Join(k.record(image), formatEncrypted(ctx, image, key)); err != nil {
		return err
	}
	device, err := openMapping(ctx, image.Name(), key)
	if err != nil {
		return err
	}
	return device.Close()
}

// openMapping opens a device of the device mapper that decrypts the image. The kernel removes it, and forgets the key,
// when nobody has it open and it is not mounted.
func openMapping(ctx context.Context, image string, key backstay.Secret) (*os.File, error) {
	lock, err := lockImage(ctx, image)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	loop, err := attach(image)
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", image, err)
	}
	defer loop.Close()
	m, err := mappingOf(lock)
	if err != nil {
		return nil, err
	}
	err = cryptsetup(ctx, key, []*os.File{lock, loop}, "open", "--type", "luks2", "--allow-discards",
		"--key-file", "-", loop.Name(), string(m))
	if err != nil {
		return nil, errors.Join(err, m.release())
	}
	device, err := m.open()
	if err := errors.Join(err, m.release()); err != nil {
		return nil, errors.Join(err, device.Close())
	}
	return device, nil
}

// lockImage waits until nobody else makes a mapping of the image, or its header: a program that does so may have
// outlived who called it. What mapping was left of that is removed.
func lockImage(ctx context.Context, image string) (*os.File, error) {
	file, err := lock(os.OpenFile(image, os.O_RDWR, 0))
	if err != nil {
		return nil, err
	}
	m, err := mappingOf(file)
	if err == nil {
		err = m.remove(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// unmap removes the mapping that an encrypted image has, if it has one.
func unmap(ctx context.Context, image string) error {
	if recorded, err := recordedOn(image); err != nil || recorded != luks {
		return nil // there is no image, or nothing was begun with it
	}
	lock, err := lockImage(ctx, image)
	if err != nil {
		return ignoreAbsent(err)
	}
	return lock.Close()
}

// discard removes an image that is not mounted, without which nothing of what was encrypted can be read: its header is
// overwritten first.
func discard(image string) error {
	if recorded, err := recordedOn(image); err != nil || recorded != luks {
		return atomicfile.Remove(image)
	}
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(make([]byte, luksHeader), 0)
	return errors.Join(err, file.Sync(), file.Close(), atomicfile.Remove(image))
}

// tryKey sees that the key is that of a volume which may have been mounted long before.
func tryKey(ctx context.Context, v volume, key backstay.Secret) error {
	return cryptsetup(ctx, key, nil, "open", "--type", "luks2", "--test-passphrase", "--key-file", "-", v.image)
}

// wrongKey is how cryptsetup ends where a key opens nothing.
const wrongKey = 2

// cryptsetup runs the program with the key as its input, and with files that stay open until it ends, also where it
// outlives us: the lock, and the loop device, which would else be free for another image.
func cryptsetup(ctx context.Context, key backstay.Secret, files []*os.File, args ...string) error {
	cmd := exec.CommandContext(ctx, "cryptsetup", args...)
	cmd.Stdin, cmd.ExtraFiles = strings.NewReader(key.Reveal()), files
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == wrongKey {
		return backstay.Wrapf(err, backstay.Invalid, "The key is not that of the volume.")
	}
	if err != nil {
		return fmt.Errorf("cryptsetup %s: %w: %s", args[0], err, bytes.TrimSpace(output))
	}
	return nil
}

// clearLog writes the whole log of an empty XFS. What was never written is read as zeros from the prepared image, and
// as anything from a device that decrypts it. Of all that XFS reads without having written it, that is the log alone.
func clearLog(device io.WriterAt, prepared io.ReaderAt) error {
	at, length, err := logOf(prepared)
	if err != nil {
		return err
	}
	zeros := make([]byte, backstay.MB)
	for end := at + length; at < end && err == nil; at += int64(len(zeros)) {
		_, err = device.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at)
	}
	return err
}

// logOf reads from the superblock of an XFS where its log lies.
func logOf(image io.ReaderAt) (at, length int64, err error) {
	super := make([]byte, 512)
	if _, err := image.ReadAt(super, 0); err != nil {
		return 0, 0, err
	}
	number := func(at int) int64 { return int64(binary.BigEndian.Uint32(super[at:])) }
	block, perGroup, blocks, groupBits := number(4), number(84), number(96), super[124]
	start := int64(binary.BigEndian.Uint64(super[48:])) // its group, and the block in that
	group := start >> groupBits
	at, length = (group*perGroup+start-group<<groupBits)*block, blocks*block
	if string(super[:4]) != "XFSB" || start == 0 || length != int64(Log) {
		return 0, 0, fmt.Errorf("the prepared image has no log of %v: %d bytes at %d", Log, length, at)
	}
	return at, length, nil
}

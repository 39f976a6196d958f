package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// kind is a kind of volume: what is in its image, and how that is encrypted.
type kind struct {
	*fileSystem
	recorded string // how an image tells that it is of this kind
	way      string // by which volumes are encrypted; empty: they are not
	// copy makes an image of the prepared one, which the key opens.
	copy func(ctx context.Context, image, prepared *os.File, key backstay.Secret) error
	// device opens what of an image is mounted. The kernel frees it when nobody has it open and it is not mounted.
	device func(ctx context.Context, image string, key backstay.Secret) (*os.File, error)
	// unlock has everything in a volume that is mounted be encrypted with the key. It is Invalid if it is with another.
	unlock func(ctx context.Context, v volume, key backstay.Secret) error
	// try sees whether the machine can have such volumes, by beginning with one that is removed then.
	try func(ctx context.Context, p *Images, k *kind, id backstay.InstanceID) error
	// What it takes: a program, the package that has it, and of the kernel.
	program, debian, kernel string
}

// plain is the kind of volumes without a key.
var plain = &kind{
	fileSystem: xfs, recorded: "xfs",
	copy: copyPlain, device: openLoop, unlock: func(context.Context, volume, backstay.Secret) error { return nil },
}

// byDMCrypt has an XFS below which the kernel encrypts each block of the image (LUKS2).
var byDMCrypt = &kind{
	fileSystem: xfs, recorded: luks, way: "dm-crypt",
	copy: copyEncrypted, device: openMapping, unlock: tryKey, try: tryMapping,
	program: "cryptsetup", debian: "cryptsetup-bin", kernel: "dm-crypt (CONFIG_DM_CRYPT)",
}

// byFscrypt has an ext4 in which the kernel encrypts each file.
var byFscrypt = &kind{
	fileSystem: ext4, recorded: "ext4", way: "fscrypt",
	copy: copyPlain, device: openLoop, unlock: unlockFiles, try: tryFiles,
	program: "mkfs.ext4", debian: "e2fsprogs", kernel: "ext4 with fscrypt (CONFIG_FS_ENCRYPTION)",
}

// encryptedKinds are tried in this order for new volumes.
var encryptedKinds = []*kind{byDMCrypt, byFscrypt}

// Largest is how large a volume of that kind can be, whichever way it is encrypted.
func (w Wanted) Largest() backstay.Bytes {
	if w.Key != "" {
		return ext4.largest
	}
	return xfs.largest
}

// record notes the kind on the image.
func (k *kind) record(image *os.File) error {
	if err := unix.Fsetxattr(int(image.Fd()), kindAttribute, []byte(k.recorded), 0); err != nil {
		return fmt.Errorf("record %s of %s: %w", kindAttribute, image.Name(), err)
	}
	return nil
}

// recordedOn reads what is noted on an image.
func recordedOn(image string) (string, error) {
	text := make([]byte, 32)
	n, err := unix.Getxattr(image, kindAttribute, text)
	if err != nil {
		return "", absent(fmt.Errorf("read %s of %s: %w", kindAttribute, image, err))
	}
	return string(text[:n]), nil
}

// kindOf is the kind of an image.
func kindOf(image string) (*kind, error) {
	recorded, err := recordedOn(image)
	if err != nil {
		return nil, err
	}
	for _, k := range append(slices.Clone(encryptedKinds), plain) {
		if k.recorded == recorded {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%s is %q, which is no kind of volume", image, recorded)
}

// kindFor is the kind of the volume, or the one that it is to be made of. An encrypted volume stays so, by the way that
// it was made, and a plain one stays plain.
func (p *Images) kindFor(ctx context.Context, v volume, wanted Wanted) (*kind, error) {
	if exists(v.image) {
		k, err := kindOf(v.image)
		if err == nil && (k.way != "") != (wanted.Key != "") {
			return nil, backstay.Errorf(backstay.Unsupported, "Encryption at rest is decided when a volume is made.")
		}
		return k, err
	}
	if wanted.Key == "" {
		return plain, nil
	}
	return p.kindOfEncrypted(ctx)
}

// kindOfEncrypted is the kind of new encrypted volumes: the first that this machine can make. It is Unsupported if
// there is none, and Unavailable where that cannot be found out now: the next one would do, and be taken for ever.
func (p *Images) kindOfEncrypted(ctx context.Context) (*kind, error) {
	p.choosing.Lock()
	defer p.choosing.Unlock()
	if p.encrypted != nil {
		return p.encrypted, nil
	}
	var sentences []string
	var causes []error
	for _, k := range encryptedKinds {
		why := p.tryKind(ctx, k)
		if why == nil {
			p.encrypted = k
			return k, nil
		}
		if backstay.KindOf(why) == backstay.Unavailable {
			return nil, why
		}
		sentences, causes = append(sentences, backstay.SentenceOf(why)), append(causes, errors.Unwrap(why))
	}
	return nil, backstay.Wrapf(errors.Join(causes...), backstay.Unsupported,
		"Nothing can be encrypted: %s.", strings.Join(sentences, ", and "))
}

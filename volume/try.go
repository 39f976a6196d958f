package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// Try tells why there can be no such volumes, in a sentence, or nil. It is Unsupported where this machine cannot have
// any, and Unavailable where it could, once its disk has room, or works again: nothing is known of the machine then.
func (p *Images) Try(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return backstay.Errorf(backstay.Unsupported,
			"Storage is not enforced: volumes with a file system of their own take root.")
	}
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		return backstay.Errorf(backstay.Unsupported,
			"Storage is not enforced: there is no mkfs.xfs. Type: apt-get install xfsprogs")
	}
	steps := append(p.makeSteps(probe, plain, Wanted{Size: portion}), p.mountSteps(probe, plain, Wanted{})...)
	err := errors.Join(try(ctx, steps), try(ctx, removeSteps(p.volume(probe))))
	switch {
	case err == nil:
		return nil
	case p.mayPass(err):
		return backstay.Wrapf(err, backstay.Unavailable, "No volume can be made now: %s.", p.hindrance(err))
	}
	return backstay.Wrapf(err, backstay.Unsupported, "Storage is not enforced: this machine cannot mount images.")
}

// try takes the steps that are taken for other volumes. No crash test is to meet them here.
func try(ctx context.Context, steps []step.Step) error {
	for _, s := range steps {
		if err := s.Do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// What a disk without room says, one that does not work, and a machine that is short of something for a moment.
var (
	noRoom  = []error{unix.ENOSPC, unix.EDQUOT}
	noDisk  = []error{unix.EIO, unix.EROFS, unix.ESTALE, unix.EUCLEAN, unix.EBADMSG, unix.ESHUTDOWN}
	noMeans = []error{
		unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EAGAIN, unix.EBUSY, unix.EINTR,
		context.Canceled, context.DeadlineExceeded,
	}
)

// says tells whether an error is one of those, or that of a program which has written what such an error is called.
func says(err error, those []error) bool {
	return slices.ContainsFunc(those, func(one error) bool {
		return errors.Is(err, one) || strings.Contains(strings.ToLower(err.Error()), one.Error())
	})
}

// mayPass tells whether what has failed may be done later, by the same machine: its disk has no room, does not work, or
// is away, or a program was killed.
func (p *Images) mayPass(err error) bool {
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && !exit.Exited()
	short := slices.ContainsFunc(noMeans, func(one error) bool { return errors.Is(err, one) })
	return killed || short || !exists(p.Root) || says(err, noRoom) || says(err, noDisk)
}

// hindrance is what keeps volumes from being made that may pass, in a few words.
func (p *Images) hindrance(err error) string {
	switch {
	case says(err, noRoom):
		return "the disk is full"
	case says(err, noDisk) || !exists(p.Root):
		return "the disk does not work"
	}
	return "the machine is busy"
}

// Encryption tells by which way new volumes are encrypted, "dm-crypt" or "fscrypt", or why the machine can neither, in
// a sentence. It is Unavailable where that is to be found out later, as for Try.
func (p *Images) Encryption(ctx context.Context) (way string, why error) {
	k, why := p.kindOfEncrypted(ctx)
	if why != nil {
		return "", why
	}
	return k.way, nil
}

// tryKind tells why the machine cannot have encrypted volumes of that kind, or nil.
func (p *Images) tryKind(ctx context.Context, k *kind) error {
	if _, err := exec.LookPath(k.program); err != nil {
		return backstay.Wrapf(err, backstay.Unsupported,
			"there is no %s for %s (apt-get install %s)", k.program, k.way, k.debian)
	}
	err := k.try(ctx, p, k, probeEncrypted)
	err = errors.Join(err, try(ctx, removeSteps(p.volume(probeEncrypted))))
	switch {
	case err == nil:
		return nil
	case p.mayPass(err):
		return backstay.Wrapf(err, backstay.Unavailable, "Nothing new can be encrypted now: %s.", p.hindrance(err))
	}
	return backstay.Wrapf(err, backstay.Unsupported, "the kernel has no %s", k.kernel)
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/backstay/backstay"
)

// absent is that there is no object of the name.
func absent(name string) error {
	return backstay.Errorf(backstay.NotFound, "There is no object %s in the repository.", name)
}

func entryOf(name string, size int64, put time.Time) Entry {
	return Entry{Name: name, Size: backstay.Bytes(size), Time: put.UTC()}
}

// unavailable is a sentence about a repository: what is wrong with it. Tenants read it, so where the repository lies
// stands in the cause, which is for operators.
func unavailable(cause error, name, sentence string) error {
	return backstay.Wrapf(fmt.Errorf("%s: %w", name, cause), backstay.Unavailable, "The repository %s", sentence)
}

// trouble gives an error of the file system its sentence.
func (d directory) trouble(err error) error {
	switch {
	case err == nil || backstay.KindOf(err) != backstay.Internal:
		return err
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return unavailable(err, d.root, "is full: the operator can make room there, or have more room given to it.")
	case errors.Is(err, syscall.EROFS):
		return unavailable(err, d.root, "can only be read: its file system is mounted so, or was found broken.")
	case errors.Is(err, fs.ErrPermission):
		return unavailable(err, d.root, "refuses Backstay: it must belong to the user that Backstay runs as.")
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return unavailable(err, d.root, "is not there: is its disk mounted?")
	case errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, syscall.EHOSTDOWN) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENODEV):
		return unavailable(err, d.root, "is away: its disk, or the machine that has it, does not answer.")
	}
	return err
}

package datadir

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
)

// programError is the error of a program that failed, with the reason that it gave.
type programError struct {
	cause error
	said  string
}

func (e *programError) Error() string { return e.cause.Error() + ": " + e.said }
func (e *programError) Unwrap() error { return e.cause }

// Blame turns an error without a Kind into one that is Unavailable. Its sentence names what cannot be set up ("MariaDB
// 10.11") and the reason. An error that has a Kind is returned as it is.
func Blame(what string, err error) error {
	var classified *backstay.Error
	if errors.As(err, &classified) {
		return err
	}
	return backstay.Wrapf(err, backstay.Unavailable, "%s cannot be set up: %s.", what, reason(err))
}

// reason returns what a user may know of err: no paths but those of programs.
func reason(err error) string {
	var program *programError
	var missing *exec.Error
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "no space is left on the disk"
	case errors.As(err, &program):
		return strings.TrimSuffix(program.said, ".")
	case errors.As(err, &missing):
		return fmt.Sprintf("%s does not run", missing.Name)
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "an unexpected failure, which the keeper's log explains"
}

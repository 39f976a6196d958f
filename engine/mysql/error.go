package mysql

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// programError is a program of MariaDB that failed, with the reason it gave.
type programError struct {
	cause error
	said  string
}

func (e *programError) Error() string { return e.cause.Error() + ": " + e.said }
func (e *programError) Unwrap() error { return e.cause }

// verdictOf is the first error that a program logged, or the last thing it said.
func verdictOf(text []byte) string {
	last := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if match := serverLine.FindStringSubmatch(line); match != nil && match[2] == "ERROR" {
			return match[3]
		}
		if reason, ok := strings.CutPrefix(line, "ERROR: "); ok { // of a statement on standard input
			return reason
		}
		last = cmp.Or(line, last)
	}
	return last
}

// cannotPrepare blames the machine for err, in a sentence that names the reason.
func cannotPrepare(i engine.Installation, err error) error {
	var classified *backstay.Error
	if errors.As(err, &classified) {
		return err
	}
	return backstay.Wrapf(err, backstay.Unavailable, "MariaDB %s cannot be set up: %s.", i.Version, reason(err))
}

// reason is what a user may know of err: no paths but those of MariaDB's programs.
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

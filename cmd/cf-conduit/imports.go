package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// imports is what became of SQL that the mysql client was given.
type imports struct {
	taken int // definers that have been replaced
	err   error
}

// imports tells whether the program is a client that runs what it reads from a file or another program.
func (s *session) imports() bool {
	if !slices.Contains([]string{"mysql", "mariadb"}, s.options.name()) || executes(s.options.program[1:]) {
		return false
	}
	stdin, err := os.Stdin.Stat()
	return err == nil && stdin.Mode()&fs.ModeCharDevice == 0
}

// executes tells whether the mysql client is given its statements as an argument. Then it does not read any.
func executes(args []string) bool {
	for _, arg := range args {
		if arg == "--execute" || strings.HasPrefix(arg, "--execute=") {
			return true
		}
		if letters, short := strings.CutPrefix(arg, "-"); short && !strings.HasPrefix(letters, "-") {
			if i := strings.IndexAny(letters, "euhpPDSR#"); i >= 0 && letters[i] == 'e' { // the others take the rest
				return true
			}
		}
	}
	return false
}

// importInto has the program read what we read, with its definers replaced. It must be called before the program is
// started. The program need not read everything, so its end does not wait for ours.
func (s *session) importInto(cmd *exec.Cmd) (<-chan imports, error) {
	cmd.Stdin = nil
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	done := make(chan imports, 1)
	go func() {
		taken, err := copyTakingOver(pipe, os.Stdin)
		done <- imports{taken, err}
		pipe.Close()
	}()
	return done, nil
}

// imported says what was replaced in an import. It returns an error if not all of it could be read.
func (s *session) imported(done <-chan imports) error {
	select {
	case got := <-done:
		if got.taken > 0 {
			s.say("what had %d definers of another server is now defined by who imports it", got.taken)
		}
		if got.err != nil && !errors.Is(got.err, syscall.EPIPE) && !errors.Is(got.err, io.ErrClosedPipe) &&
			!errors.Is(got.err, os.ErrClosed) {
			return fmt.Errorf("read what to import: %w", got.err)
		}
	default: // there was nothing to import, or the program wants no more of it
	}
	return nil
}

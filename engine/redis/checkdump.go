package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// checkDump has the server's own program read an RDB file. The error is Invalid if something in it is not as it was
// written, and that of the reader if it has one.
func checkDump(ctx context.Context, n engine.Node, file io.Reader) error {
	read := &source{Reader: file}
	err := runCheck(ctx, n, read)
	var failed *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case read.err != nil:
		return read.err
	case errors.As(err, &failed):
		return backstay.Wrapf(err, backstay.Invalid, "The backup is damaged.")
	}
	return fmt.Errorf("check the RDB file: %w", err)
}

// runCheck runs the program as the node's account, because tenants have made what it reads, and as little in the way of
// others as can be. What it says is nobody's business: there are keys in it.
func runCheck(ctx context.Context, n engine.Node, file io.Reader) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	defer out.Close()
	cmd := checker(ctx, n.Installation)
	cmd.Stdin = out
	if n.Account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}}
		if err := out.Chown(n.Account.IDs()); err != nil { // the program opens it by its name
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, 19) // otherwise it takes its share of the processors
	out.Close()
	_, copied := io.Copy(in, file)
	in.Close()
	if err := cmd.Wait(); err != nil {
		return err
	}
	return copied
}

// checker is the program redis-check-rdb, which is the server by another name. A copy of an installation has the server
// alone, so that it is called by the name without being found by it.
func checker(ctx context.Context, i engine.Installation) *exec.Cmd {
	program := productOf(i).program
	cmd := exec.CommandContext(ctx, filepath.Join(i.Dir, program), "/dev/stdin")
	cmd.Args[0] = strings.TrimSuffix(program, "-server") + "-check-rdb"
	cmd.Dir, cmd.Env = "/", []string{"LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd
}

// source is a reader that remembers why it has ended early.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	count, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return count, err
}

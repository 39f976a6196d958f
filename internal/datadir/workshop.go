package datadir

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Workshop is where a data directory is built, and how programs are run for that.
type Workshop struct {
	Dir  string // for files that are needed only meanwhile
	Data string // becomes the data directory

	ctx     context.Context
	lock    *os.File // that a golden directory's programs share; nil elsewhere
	as      *syscall.Credential
	env     []string
	verdict func(said string) string
}

func (g Golden) open(ctx context.Context, part string, lock *os.File) (*Workshop, error) {
	owner, err := credential(g.User)
	if err != nil {
		return nil, err
	}
	w, err := newWorkshop(ctx, part, owner)
	if err != nil {
		return nil, err
	}
	w.lock, w.env, w.verdict = lock, g.Env, g.Verdict
	return w, nil
}

// newWorkshop makes a workshop of the directory dir, in which programs run as the owner, or as ourselves if it is nil.
func newWorkshop(ctx context.Context, dir string, owner *syscall.Credential) (*Workshop, error) {
	w := &Workshop{Dir: dir, Data: filepath.Join(dir, "data"), ctx: ctx}
	if err := os.Mkdir(w.Data, 0o700); err != nil {
		return nil, err
	}
	if owner == nil { // everything is ours then
		return w, nil
	}
	w.as = owner
	for _, dir := range []string{w.Data, w.Dir} {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// IDs returns the owner of what the programs make and read, as chown takes it.
func (w *Workshop) IDs() (uid, gid int) {
	if w.as == nil {
		return -1, -1
	}
	return int(w.as.Uid), int(w.as.Gid)
}

// credential returns the user of that name, or nobody, and nil if we are not root. Some programs need one that the
// password database knows.
func credential(name string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := cmp.Or(err, gidErr); err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// launch is a shell script that replaces itself by the program in "$0". Nobody else can read the files that it makes.
const launch = `umask 077; exec "$0" "$@"`

// Run runs a program in Dir, to its end. A program may outlive us if we are killed. It shares our lock, so that the
// next maker waits for it.
func (w *Workshop) Run(stdin, program string, args ...string) error {
	var said bytes.Buffer
	err := w.run(strings.NewReader(stdin), nil, &said, program, args...)
	if err != nil && said.Len() > 0 {
		return w.blame(err, program, w.verdict(said.String()))
	}
	return err
}

// Feed is Run for a program that reads much on standard input.
func (w *Workshop) Feed(stdin io.Reader, program string, args ...string) error {
	var said bytes.Buffer
	err := w.run(stdin, nil, &said, program, args...)
	if err != nil && said.Len() > 0 {
		return w.blame(err, program, lastLine(said.String()))
	}
	return err
}

// Listen is Run for a program that gives its reasons on standard output. It returns all that the program said.
func (w *Workshop) Listen(program string, args ...string) (said string, err error) {
	var out bytes.Buffer
	err = w.run(strings.NewReader(""), &out, &out, program, args...)
	if err != nil && out.Len() > 0 {
		return out.String(), w.blame(err, program, lastLine(out.String()))
	}
	return out.String(), err
}

func (w *Workshop) blame(err error, program, said string) error {
	return &programError{fmt.Errorf("%s: %w", filepath.Base(program), err), said}
}

func lastLine(said string) string {
	said = strings.TrimSpace(said)
	return said[strings.LastIndexByte(said, '\n')+1:]
}

func (w *Workshop) run(stdin io.Reader, stdout, stderr io.Writer, program string, args ...string) error {
	if _, err := exec.LookPath(program); err != nil {
		return err
	}
	cmd := exec.CommandContext(w.ctx, "/bin/sh", slices.Concat([]string{"-c", launch, program}, args)...)
	cmd.Dir, cmd.Env = w.Dir, w.env
	if w.lock != nil {
		cmd.ExtraFiles = []*os.File{w.lock}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.as, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and all that it runs
	// A server that the program has started may hold its output.
	cmd.WaitDelay = time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return cmd.Run()
}

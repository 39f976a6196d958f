package datadir

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Workshop is where a golden directory is built, and how programs are run for that.
type Workshop struct {
	Dir  string // for files that are needed only meanwhile
	Data string // becomes the golden directory

	ctx     context.Context
	lock    *os.File
	as      *syscall.Credential
	env     []string
	verdict func(said string) string
}

func (g Golden) open(ctx context.Context, part string, lock *os.File) (*Workshop, error) {
	w := &Workshop{Dir: part, Data: filepath.Join(part, "data"), ctx: ctx, lock: lock, env: g.Env, verdict: g.Verdict}
	if err := os.Mkdir(w.Data, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 { // everything is ours then
		return w, nil
	}
	owner, err := credential(g.User)
	if err != nil {
		return nil, err
	}
	w.as = owner
	for _, dir := range []string{w.Data, w.Dir} {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// credential returns the user of that name, or nobody. Some programs need one that the password database knows.
func credential(name string) (*syscall.Credential, error) {
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
	if _, err := exec.LookPath(program); err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(w.ctx, "/bin/sh", slices.Concat([]string{"-c", launch, program}, args)...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = w.Dir, w.env, []*os.File{w.lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.as, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and all that it runs
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &said
	err := cmd.Run()
	if err != nil && said.Len() > 0 {
		return &programError{fmt.Errorf("%s: %w", filepath.Base(program), err), w.verdict(said.String())}
	}
	return err
}

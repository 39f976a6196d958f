package datadir

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
)

// Trial has a program of the engine's read a configuration that is wanted, in an empty directory and without
// any data, so that whoever runs meanwhile notices nothing.
type Trial struct {
	Product  string // what is tried, as users know it: "PostgreSQL 15"
	Program  string
	Args     []string // paths in them start in the directory, in which the program works
	Env      []string
	UID, GID int               // the user that the program runs as; -1 is ours
	Files    map[string]string // what lies in the directory, keyed by name
	// Verdict finds what the program complained of in what it said on standard error. Empty is nothing, also
	// of a program that ended well.
	Verdict func(said string) string
}

// Run is Unsupported, with the program's own words, if it refuses the configuration.
func (t Trial) Run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "backstay-check-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := Fill(dir, t.UID, t.GID, t.Files); err != nil {
		return err
	}
	if err := os.Lchown(dir, t.UID, t.GID); err != nil {
		return err
	}
	said, err := t.run(ctx, dir)
	reason := strings.TrimSuffix(t.Verdict(strings.ReplaceAll(said, dir+"/", "")), ".")
	if reason != "" {
		return backstay.Wrapf(err, backstay.Unsupported, "%s cannot be configured as it is wanted: %s.", t.Product, reason)
	}
	if err != nil {
		return Blame(t.Product, err)
	}
	return nil
}

// run returns what the program said on standard error.
func (t Trial) run(ctx context.Context, dir string) (said string, err error) {
	cmd := exec.CommandContext(ctx, t.Program, t.Args...)
	cmd.Dir, cmd.Env = dir, t.Env
	if t.UID >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(t.UID), Gid: uint32(t.GID)}}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	return stderr.String(), err
}

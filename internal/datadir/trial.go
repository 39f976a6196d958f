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

// Trial has a program of an engine read a configuration. The program works in a directory of its own, without any
// data, so that a server that runs meanwhile is not disturbed.
type Trial struct {
	Product  string // the name by which users know what is tried: "PostgreSQL 15"
	Program  string
	Args     []string // relative paths in them are relative to the directory
	Env      []string
	UID, GID int               // whom the program runs as; -1 is us
	Files    map[string]string // the contents of the directory, keyed by name
	// Verdict finds the program's complaint in what it said on standard error. It is asked about a program that
	// ended with success too. Empty is no complaint.
	Verdict func(said string) string
}

// Run returns an error of kind Unsupported, with the program's complaint in its sentence, if the program refuses the
// configuration.
func (t Trial) Run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "backstay-check-")
	if err != nil {
		return Blame(t.Product, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := errors.Join(Fill(dir, t.UID, t.GID, t.Files), os.Lchown(dir, t.UID, t.GID)); err != nil {
		return Blame(t.Product, err)
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

package datadir

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

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
	dir, err := os.MkdirTemp("", trialPrefix)
	if err != nil {
		return Blame(t.Product, err)
	}
	removeAbandoned(dir)
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

// A trial's directory lies among the machine's temporary files. One that is as old as this has been left by a process
// that was killed: a trial takes a minute at most.
const (
	trialPrefix = "backstay-check-"
	abandoned   = time.Hour
)

// removeAbandoned removes what killed processes have left beside dir, which has just been made. What cannot be removed
// is left to whoever can.
func removeAbandoned(dir string) {
	made, err := os.Stat(dir)
	if err != nil {
		return
	}
	beside, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), trialPrefix+"*"))
	for _, other := range beside {
		if was, err := os.Lstat(other); err == nil && made.ModTime().Sub(was.ModTime()) > abandoned {
			_ = os.RemoveAll(other)
		}
	}
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

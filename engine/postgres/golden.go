package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
)

const (
	admin    = "backstay" // the bootstrap superuser
	owner    = "owner"    // owns what bindings make
	database = "main"
)

var (
	//go:embed golden.sql
	goldenSQL string
	//go:embed main.sql
	mainSQL string
)

// initdbArguments: checksums, so that a rotten disk cannot pass unnoticed into backups; no sync, for
// nothing of what initdb makes is kept unless all of what follows succeeds.
var initdbArguments = []string{"--username=" + admin, "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
	"--auth=reject", "--no-sync", "--no-instructions"}

// golden is a data directory that new ones are clones of. It holds all that nodes have in common, so
// that making one needs no SQL.
type golden struct {
	installation engine.Installation
	cacheDir     string
}

// Warm makes the golden directory, if it is not there.
func (Engine) Warm(ctx context.Context, i engine.Installation, cacheDir string) error {
	release, err := golden{installation: i, cacheDir: cacheDir}.acquire(ctx)
	if err != nil {
		return cannotPrepare(i, err)
	}
	return release()
}

// path names all that the contents depend on.
func (g golden) path() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", g.installation.Dir, initdbArguments, goldenSQL, allowing())
	return filepath.Join(g.cacheDir, fmt.Sprintf("%s%s-%.8x", g.prefix(), g.installation.FullVersion, h.Sum(nil)))
}

// prefix is common to the golden directories of a version, and no other's.
func (g golden) prefix() string { return "postgres-" + g.installation.Version + "-" }

func allowing() string {
	allowed := "'" + strings.Join(Extensions(), "', '") + "'"
	return strings.ReplaceAll(mainSQL, "ALLOWED", allowed)
}

// acquire makes sure that the directory is there, and that it stays until it is released.
func (g golden) acquire(ctx context.Context) (release func() error, err error) {
	lock, err := os.OpenFile(filepath.Join(g.cacheDir, "postgres-"+g.installation.Version+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := g.ensure(ctx, lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil // the lock goes with its file
}

// ensure returns holding a shared lock on an existing directory, which only the holder of an
// exclusive lock makes or removes.
func (g golden) ensure(ctx context.Context, lock *os.File) error {
	for {
		if err := flock(lock, unix.LOCK_SH); err != nil {
			return err
		}
		if _, err := os.Stat(g.path()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := flock(lock, unix.LOCK_EX); err != nil {
			return err
		}
		if _, err := os.Stat(g.path()); errors.Is(err, fs.ErrNotExist) {
			if err := g.make(ctx, lock); err != nil {
				return err
			}
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// make builds the directory under another name and gives it its own once it is complete and safe on
// the disk. What crashed makers left goes first, and so do those of releases that are no more.
func (g golden) make(ctx context.Context, lock *os.File) (err error) {
	if err := g.sweep(); err != nil {
		return err
	}
	part, err := os.MkdirTemp(g.cacheDir, g.prefix()+"*.part")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	data := filepath.Join(part, "data")
	if err := g.build(ctx, lock, part, data); err != nil {
		return err
	}
	if err := clone.Sync(data); err != nil {
		return err
	}
	if err := os.Rename(data, g.path()); err != nil {
		return err
	}
	return syncDir(g.cacheDir)
}

// sweep removes what no node of this version will be cloned from again.
func (g golden) sweep() error {
	entries, err := os.ReadDir(g.cacheDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		current := strings.HasPrefix(e.Name(), g.prefix()+g.installation.FullVersion+"-") && !strings.HasSuffix(e.Name(), ".part")
		if strings.HasPrefix(e.Name(), g.prefix()) && !current {
			if err := os.RemoveAll(filepath.Join(g.cacheDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// build runs programs that outlive us if we are killed. They hold the lock with us, so that the next
// maker waits for them.
func (g golden) build(ctx context.Context, lock *os.File, part, data string) error {
	attr, err := buildAs(part)
	if err != nil {
		return err
	}
	run := func(stdin, program string, args ...string) error {
		cmd := exec.CommandContext(ctx, "/bin/sh", slices.Concat([]string{"-c", private, filepath.Join(g.installation.Dir, program)}, args)...)
		cmd.Dir, cmd.SysProcAttr, cmd.Stdin, cmd.ExtraFiles = part, attr, strings.NewReader(stdin), []*os.File{lock}
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
		return runProgram(cmd)
	}
	single := []string{"--single", "-j", "-D", data, "-c", "exit_on_error=on", "-c", "fsync=off", "-c", "wal_recycle=off",
		"-c", "log_min_error_statement=panic"}
	if err := run("", "initdb", slices.Concat(initdbArguments, []string{"--pgdata=" + data})...); err != nil {
		return err
	}
	if err := run(goldenSQL, "postgres", slices.Concat(single, []string{"template1"})...); err != nil {
		return err
	}
	if err := run(allowing(), "postgres", slices.Concat(single, []string{database})...); err != nil {
		return err
	}
	return finish(data, run)
}

// finish leaves a directory that was shut down in order, whose log is one segment with nothing in it,
// and that is nobody's but ours.
func finish(data string, run func(stdin, program string, args ...string) error) error {
	if err := run("", "pg_resetwal", "-D", data); err != nil { // refuses after a crash
		return err
	}
	if err := punchLogs(data); err != nil {
		return err
	}
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, os.Geteuid(), os.Getegid())
	})
}

// private becomes the program in "$0", whose files are for nobody else from their first moment.
const private = `umask 077; exec "$0" "$@"`

// runProgram turns what a program says on standard error into its error.
func runProgram(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	if err != nil && said.Len() > 0 {
		return &programError{fmt.Errorf("%s: %w", filepath.Base(cmd.Args[3]), err), lastLine(said.Bytes())}
	}
	return err
}

// buildAs returns how to run PostgreSQL's programs as a user that may write in dir: they refuse root,
// and initdb wants one that the password database knows.
func buildAs(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
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
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return attr, os.Chown(dir, int(uid), int(gid))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

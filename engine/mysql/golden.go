package mysql

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
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
)

const (
	database    = "main"
	tmpDir      = "tmp"                // in the data directory
	versionFile = "mysql_upgrade_info" // in the data directory, by the installer
)

//go:embed golden.sql
var goldenSQL string

// buildArguments: a small log, which every node gives the size it wants at its first start, and no
// sync, for nothing is kept unless all succeeds.
var buildArguments = []string{"--innodb-log-file-size=4M", "--innodb-flush-method=nosync", "--skip-log-bin",
	"--character-set-server=" + charset, "--collation-server=" + collation}

// installArguments: the installer's own administrator comes in over the Unix socket alone, until the
// node's first start makes it the node's.
var installArguments = []string{"--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"}

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
	fmt.Fprintf(h, "%q %q %q %q", g.installation.Dir, installArguments, buildArguments, goldenSQL)
	return filepath.Join(g.cacheDir, fmt.Sprintf("%s%s-%.8x", g.prefix(), g.installation.FullVersion, h.Sum(nil)))
}

// prefix is common to the golden directories of a version, and no other's.
func (g golden) prefix() string { return "mariadb-" + g.installation.Version + "-" }

// acquire makes sure that the directory is there, and that it stays until it is released.
func (g golden) acquire(ctx context.Context) (release func() error, err error) {
	lock, err := os.OpenFile(filepath.Join(g.cacheDir, "mariadb-"+g.installation.Version+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
	return atomicfile.SyncDir(g.cacheDir)
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
		cmd := exec.CommandContext(ctx, "/bin/sh", slices.Concat([]string{"-c", private, program}, args)...)
		cmd.Dir, cmd.SysProcAttr, cmd.Stdin, cmd.ExtraFiles = part, attr, strings.NewReader(stdin), []*os.File{lock}
		cmd.Env = environment
		return runProgram(cmd)
	}
	// Each server removes, when it starts, what temporary tables it finds in its directory for them.
	directories := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + part}
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if attr != nil {
		if err := os.Chown(data, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return err
		}
	}
	if err := run("", g.installer(), slices.Concat(directories, installArguments, buildArguments)...); err != nil {
		return err
	}
	server := filepath.Join(g.installation.Dir, program)
	if err := run(goldenSQL, server, slices.Concat(directories, []string{"--bootstrap"}, buildArguments)...); err != nil {
		return err
	}
	return finish(data)
}

// installer lies beside the directory of the server, as Debian has it.
func (g golden) installer() string {
	return filepath.Join(filepath.Dir(g.installation.Dir), "bin", installer)
}

// finish leaves a directory that is nobody's but ours, with nothing in it that a clone would say of
// another server.
func finish(data string) error {
	if err := os.Mkdir(filepath.Join(data, tmpDir), 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		return errors.Join(os.Lchown(path, os.Geteuid(), os.Getegid()), os.Chmod(path, mode))
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
		return &programError{fmt.Errorf("%s: %w", filepath.Base(cmd.Args[3]), err), verdictOf(said.Bytes())}
	}
	return err
}

// buildAs returns how to run MariaDB's programs as a user that may write in dir: the server refuses root.
func buildAs(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("mysql")
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

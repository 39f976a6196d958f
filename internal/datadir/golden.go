package datadir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/clone"
)

// Golden is a data directory that others are clones of. It holds all that they have in common, so that
// making one of them takes no program at all.
type Golden struct {
	CacheDir string   // where it lies, in company
	Name     string   // product and version, with which its names begin: "mariadb-10.11"
	Release  string   // "10.11.19": the directories of other releases go when this one's is made
	Recipe   string   // all else that the contents depend on
	User     string   // whose programs they are: they run as this user, or else nobody, where we are root
	Env      []string // of the programs
	// Build fills the workshop's Data, which is empty.
	Build func(w *Workshop) error
	// Verdict finds in what a program that failed said on standard error the reason that it gave.
	Verdict func(said string) string
}

// Make makes the directory, if it is not there. Of many at once, in any number of processes, one does
// the work.
func (g Golden) Make(ctx context.Context) error {
	release, err := g.acquire(ctx)
	if err != nil {
		return err
	}
	return release()
}

// Clone makes dst, which must not exist, a copy that belongs to uid and gid (-1 is ours). It is not
// synced.
func (g Golden) Clone(ctx context.Context, dst string, uid, gid int) (err error) {
	release, err := g.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return clone.Copy(dst, g.path(), uid, gid)
}

// prefix is common to the directories of a version, and no other's.
func (g Golden) prefix() string { return g.Name + "-" }

func (g Golden) path() string {
	recipe := sha256.Sum256([]byte(g.Recipe))
	return filepath.Join(g.CacheDir, fmt.Sprintf("%s%s-%.8x", g.prefix(), g.Release, recipe))
}

// acquire makes sure that the directory is there, and that it stays until it is released.
func (g Golden) acquire(ctx context.Context) (release func() error, err error) {
	lock, err := os.OpenFile(filepath.Join(g.CacheDir, g.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
func (g Golden) ensure(ctx context.Context, lock *os.File) error {
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

// Await waits until nothing is being made in a cache directory: not even by programs whose maker was
// killed.
func Await(cacheDir string) error {
	locks, err := filepath.Glob(filepath.Join(cacheDir, "*.lock"))
	if err != nil {
		return err
	}
	for _, path := range locks {
		lock, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(flock(lock, unix.LOCK_EX), lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// make builds the directory under another name. What crashed makers left goes first, and so do those
// of releases that are no more.
func (g Golden) make(ctx context.Context, lock *os.File) (err error) {
	if err := g.sweep(); err != nil {
		return err
	}
	part, err := os.MkdirTemp(g.CacheDir, g.prefix()+"*.part")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	w, err := g.open(ctx, part, lock)
	if err != nil {
		return err
	}
	if err := g.Build(w); err != nil {
		return err
	}
	if err := reclaim(w.Data); err != nil {
		return err
	}
	return publish(w.Data, g.path())
}

// sweep removes what nothing of this version will be cloned from again.
func (g Golden) sweep() error {
	entries, err := os.ReadDir(g.CacheDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		current := strings.HasPrefix(e.Name(), g.prefix()+g.Release+"-") && !strings.HasSuffix(e.Name(), ".part")
		if strings.HasPrefix(e.Name(), g.prefix()) && !current {
			if err := os.RemoveAll(filepath.Join(g.CacheDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// reclaim leaves a directory that is nobody's but ours, whatever programs thought best.
func reclaim(data string) error {
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, os.Geteuid(), os.Getegid()); err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			return os.Chmod(path, 0o700)
		case fs.ModeSymlink:
			return nil
		}
		return os.Chmod(path, 0o600)
	})
}

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

// Golden is a data directory that is made once, for others to be cloned from. It holds everything that they have in
// common, so that making another one takes no program at all.
type Golden struct {
	CacheDir string   // where it is made, beside others
	Name     string   // product and version: "mariadb-10.11"; the directory's name begins with it
	Release  string   // "10.11.19": directories of other releases are removed when this one's is made
	Recipe   string   // everything else that the contents depend on
	User     string   // whom the programs run as if we are root; nobody, if there is no such user
	Env      []string // environment of the programs
	// Build fills the workshop's Data, which is empty.
	Build func(w *Workshop) error
	// Verdict finds the reason in what a program that failed said on standard error.
	Verdict func(said string) string
}

// Make makes the directory, if it is not there. If many call it at once, in one process or several, one of them does
// the work.
func (g Golden) Make(ctx context.Context) error {
	release, err := g.acquire(ctx)
	if err != nil {
		return err
	}
	return release()
}

// Clone copies the directory to dst, which must not exist, for uid and gid (-1 is ours). The copy is not synced to the
// disk.
func (g Golden) Clone(ctx context.Context, dst string, uid, gid int) (err error) {
	release, err := g.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return clone.Copy(dst, g.path(), uid, gid)
}

// prefix begins the names of a version's directories, and no others.
func (g Golden) prefix() string { return g.Name + "-" }

func (g Golden) path() string {
	recipe := sha256.Sum256([]byte(g.Recipe))
	return filepath.Join(g.CacheDir, fmt.Sprintf("%s%s-%.8x", g.prefix(), g.Release, recipe))
}

// acquire makes the directory, if it is not there, and keeps others from removing it until release is called.
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

// ensure returns with a shared lock, and with the directory in its place. Whoever makes or removes the directory holds
// the lock exclusively.
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

// Await waits until nothing is being made in a cache directory any more, not even by programs whose starter was
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

// make builds the directory under another name and publishes it. First it removes what makers that crashed have left,
// and the directories of other releases.
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

// sweep removes the version's directories that nothing will be cloned from again.
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

// reclaim makes us the only ones who can use the directory, whatever owners and modes the programs have set.
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

package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// bench is what a copy works with: a directory beside the data directory, and an account. Each copy has its own. A
// backup may begin while a standby is copied, which takes as long as it takes, and is not to be ended by that.
type bench struct {
	dir, account string
	ended        []string // accounts of copies that ended with their keeper
	lock         *os.File // for as long as the copy goes on
}

// benches is behind the name of the data directory.
const benches = ".backup"

// newBench makes a bench, and removes the directories of copies that have ended.
func newBench(ctx context.Context, n engine.Node) (b *bench, err error) {
	if _, err := os.Lstat(n.DataDir); err != nil {
		return nil, backstay.Wrapf(err, backstay.Unavailable, "The data directory of %s is missing.",
			called(n.Installation))
	}
	unlock, err := engine.LockDir(ctx, filepath.Dir(n.DataDir)) // until there is a lock on the new one
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	found, err := filepath.Glob(n.DataDir + benches + "*")
	if err != nil {
		return nil, err
	}
	name := "-" + strings.ToLower(rand.Text()[:8])
	b = &bench{dir: n.DataDir + benches + name, account: copier + name}
	for _, left := range found {
		ended, err := removeUnused(left)
		if err != nil {
			return nil, err
		}
		if ended {
			b.ended = append(b.ended, copier+strings.TrimPrefix(left, n.DataDir+benches))
		}
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return nil, err
	}
	if b.lock, err = os.Open(b.dir); err != nil {
		return nil, err
	}
	return b, unix.Flock(int(b.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// removeUnused removes a directory, unless somebody has the lock of it.
func removeUnused(path string) (removed bool, err error) {
	dir, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) { // its copy has just ended
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err == nil {
		err = os.RemoveAll(path)
	}
	return err == nil, err
}

// leave removes the directory.
func (b *bench) leave() error { return errors.Join(os.RemoveAll(b.dir), b.lock.Close()) }

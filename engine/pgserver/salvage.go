package pgserver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
)

// Salvage does for a node that was fenced what its server has not come to: it hands over what is finished of the log. A
// standby takes it for archived, since it was there before, so nobody else has it.
func Salvage(ctx context.Context, n engine.Node) (err error) {
	root, err := os.OpenRoot(n.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	in := filepath.Join(filepath.Dir(n.DataDir), spoolDir)
	if _, err := os.Lstat(in); err != nil || !isFenced(root) { // else nobody archives, or the server does
		return nil
	}
	s, err := openSpool(ctx, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.unlock()) }()
	ready, err := fs.Glob(root.FS(), "pg_wal/archive_status/*.ready")
	if err != nil {
		return err
	}
	for _, status := range slices.Sorted(slices.Values(ready)) {
		name := strings.TrimSuffix(path.Base(status), ".ready")
		if !archivable.MatchString(name) {
			continue
		}
		if err := s.handOver(root, name); err != nil {
			return err
		}
		if err := root.Rename(status, strings.TrimSuffix(status, ".ready")+".done"); err != nil {
			return err
		}
	}
	return nil
}

// isFenced tells whether the data is of a server that has ended, and follows when it is started again.
func isFenced(root *os.Root) bool {
	_, signal := root.Lstat(StandbySignal)
	_, pid := root.Lstat("postmaster.pid")
	return signal == nil && errors.Is(pid, fs.ErrNotExist)
}

// handOver copies a segment from a data directory to where only we are at home, as if it had been taken.
func (s *spool) handOver(root *os.Root, name string) error {
	part := filepath.Join(s.out, ".part")
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := (Copying{ctx: context.Background(), root: root}).file(part, path.Join("pg_wal", name)); err != nil {
		return err
	}
	f, err := os.Open(part)
	if errors.Is(err, fs.ErrNotExist) { // it is gone: Archive tells of the gap
		return nil
	}
	if err != nil {
		return err
	}
	uid, gid := s.account.IDs()
	if err := errors.Join(f.Sync(), f.Close(), os.Lchown(part, uid, gid)); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(s.out, name))
}

package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/process"
)

// Conversion makes a data directory out of another one, as an upgrade does, with programs and servers of the engine.
// All of that happens in the workshop Dir + ".part". No process and no file stays there, however the conversion ends:
// what a killed one has left goes when the next one begins, or by [Abandon].
type Conversion struct {
	Dir      string // that is made; it must not exist
	Sockets  string // made for the servers' sockets meanwhile; its path is short
	UID, GID int    // the owner of everything in Dir; -1 is ours
	User     string // whom the programs run as if we are root; nobody, if there is no such user
	Own      bool   // the programs run as UID and GID instead
	Env      []string
	// Verdict finds the reason in what a program that failed said on standard error.
	Verdict func(said string) string
}

// Make has build fill the workshop's Data, gives that to its owner, syncs it to the disk, and gives it its name.
func (c Conversion) Make(ctx context.Context, build func(*Workshop) error) error {
	return c.try(ctx, func(w *Workshop) error {
		if err := build(w); err != nil {
			return err
		}
		if err := process.KillIn(w.Dir); err != nil {
			return err
		}
		if err := Give(w.Data, c.UID, c.GID); err != nil {
			return err
		}
		if err := clone.Sync(w.Data); err != nil {
			return err
		}
		if err := os.Rename(w.Data, c.Dir); err != nil {
			return err
		}
		return atomicfile.SyncDir(filepath.Dir(c.Dir))
	})
}

// Try calls build as Make does, and leaves nothing behind.
func (c Conversion) Try(ctx context.Context, build func(*Workshop) error) error {
	return c.try(ctx, build)
}

func (c Conversion) try(ctx context.Context, build func(*Workshop) error) (err error) {
	part := c.part()
	if err := errors.Join(discard(part), os.RemoveAll(c.Sockets)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, Abandon(c.Dir), os.RemoveAll(c.Sockets)) }()
	for _, dir := range []string{part, c.Sockets} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	w, err := c.open(ctx, part)
	if err != nil {
		return err
	}
	if w.as != nil {
		if err := os.Chown(c.Sockets, int(w.as.Uid), int(w.as.Gid)); err != nil {
			return err
		}
	}
	w.env, w.verdict = c.Env, c.Verdict
	return build(w)
}

func (c Conversion) open(ctx context.Context, part string) (*Workshop, error) {
	if c.Own && c.UID >= 0 {
		return newWorkshop(ctx, part, &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)})
	}
	owner, err := credential(c.User)
	if err != nil {
		return nil, err
	}
	return newWorkshop(ctx, part, owner)
}

func (c Conversion) part() string { return c.Dir + ".part" }

// Whole is a file in the workshop of a conversion that works on what was in Dir itself. While it is there, Data is
// that, and is put back where the conversion does not come to its end.
const Whole = "whole"

// Abandon ends the processes and removes the files that a Conversion to the directory has left which was killed. What
// was in the directory, and is nowhere else, is left to who puts it back.
func Abandon(dir string) error {
	part := Conversion{Dir: dir}.part()
	_, marked := os.Lstat(filepath.Join(part, Whole))
	if _, there := os.Lstat(dir); marked == nil && there != nil {
		return process.KillIn(part)
	}
	return discard(part)
}

// discard is Abandon for what nobody puts back.
func discard(part string) error {
	if _, err := os.Lstat(part); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := process.KillIn(part); err != nil {
		return err
	}
	return os.RemoveAll(part)
}

// Give makes uid and gid the owner of dir and all that is in it; -1 changes nothing.
func Give(dir string, uid, gid int) error {
	if uid == -1 && gid == -1 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

// Copy makes dst a copy of a data directory, for uid and gid. It refuses one with symbolic links in it: none of ours
// has any, and whoever works on the copy would follow them, to wherever a server that was broken into wants.
func (w *Workshop) Copy(dst, src string, uid, gid int) error {
	if err := clone.Copy(dst, src, uid, gid); err != nil {
		return err
	}
	return filepath.WalkDir(dst, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSymlink {
			err = fmt.Errorf("%s is a symbolic link", path)
		}
		return err
	})
}

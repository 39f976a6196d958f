package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
)

// Clone copies the files of a serving node, as pg_basebackup does, and has a server replay what was logged meanwhile.
// Files share their blocks where the file system can.
func (s Server) Clone(ctx context.Context, from, to engine.Node, progress func(string)) error {
	if err := s.Fits(from.Installation.FullVersion, to); err != nil {
		return err
	}
	err := s.TakeOver(ctx, to, func(w *datadir.Workshop, c Recovery) error {
		progress("the data is copied.")
		if err := s.CopyServing(ctx, from, w, Copying{}); err != nil {
			return err
		}
		progress("the copy is made ready.")
		if err := c.start(ctx, w, map[string]string{}); err != nil {
			return err
		}
		return errors.Join(c.finish(ctx, w), c.begin(w))
	})
	return BlameCopy("The copy of "+s.Product, err)
}

// begin lets a copy have a log of its own, which cannot be taken for that of the original.
func (c Recovery) begin(w *datadir.Workshop) error {
	if err := w.Run("", filepath.Join(c.node.Installation.Dir, "pg_resetwal"), "-D", w.Data); err != nil {
		return err
	}
	return RenewIdentifier(w.Data)
}

// CopyServing copies what pg_basebackup would. The server keeps its log from the moment on at which the copy begins for
// as long as the session with it lasts.
func (s Server) CopyServing(ctx context.Context, n engine.Node, w *datadir.Workshop, c Copying) error {
	return WithAdmin(ctx, n, s.Database, func(conn *pgx.Conn) error {
		var from, to, label string
		const keep = "SELECT pg_create_physical_replication_slot('backstay_clone_' || pg_backend_pid(), true, true)"
		if _, err := conn.Exec(ctx, keep); err != nil {
			return err
		}
		const start = "SELECT pg_walfile_name(pg_backup_start('a clone', true))"
		if err := conn.QueryRow(ctx, start).Scan(&from); err != nil {
			return err
		}
		root, err := os.OpenRoot(n.DataDir)
		if err != nil {
			return err
		}
		defer root.Close()
		c.ctx, c.root = ctx, root
		if err := c.files(w.Data, ".", s.isCopied); err != nil {
			return err
		}
		const stop = "SELECT pg_walfile_name(lsn), labelfile FROM pg_backup_stop(false)"
		if err := conn.QueryRow(ctx, stop).Scan(&to, &label); err != nil {
			return err
		}
		err = c.files(filepath.Join(w.Data, "pg_wal"), "pg_wal", func(name string) bool {
			base := path.Base(name)
			return logName.MatchString(base) && base >= from && base <= to || strings.HasSuffix(base, ".history")
		})
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(w.Data, "backup_label"), []byte(label), 0o600)
	})
}

// emptied are the directories whose content is the server's own while it runs, or is fetched afterwards.
var emptied = []string{"pg_wal", "pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp",
	"pg_subtrans"}

// isCopied tells whether a file of the data directory belongs to a copy.
func (s Server) isCopied(name string) bool {
	first, _, below := strings.Cut(name, "/")
	for _, dir := range emptied {
		if below && first == dir {
			return false
		}
	}
	base := path.Base(name)
	return !slices.Contains(s.Own, name) && base != "postmaster.pid" && base != "postmaster.opts" &&
		base != "pg_internal.init" && !strings.HasPrefix(base, "pgsql_tmp") && !strings.HasSuffix(base, ".part")
}

// Copying is how files are copied. They are opened below root alone: the server may have been broken into, and may put
// links there while we read.
type Copying struct {
	ctx    context.Context
	root   *os.Root
	Gently bool             // it leaves half of the disk's time to others
	Copied func(size int64) // is told of each file; nil: nobody asks
}

// files copies the directory of that name, with those of its files that belong to the copy. Files that go meanwhile are
// in the log, and the control file is the last one, since it says from where on the log is read.
func (c Copying) files(to, name string, belongs func(string) bool) error {
	var files errgroup.Group
	files.SetLimit(4)
	if c.Gently {
		files.SetLimit(1)
	}
	const control = "global/pg_control"
	err := fs.WalkDir(c.root.FS(), name, func(at string, d fs.DirEntry, err error) error {
		below := strings.TrimPrefix(strings.TrimPrefix(at, name), "/")
		copied := filepath.Join(to, below)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case d.IsDir() && (at == name || belongs(at) || path.Dir(at) == "."):
			return ignoreExisting(os.Mkdir(copied, 0o700))
		case d.IsDir():
			return nil
		case at != control && belongs(at):
			files.Go(func() error { return c.file(copied, at) })
		}
		return nil
	})
	if err := errors.Join(err, files.Wait()); err != nil || name != "." {
		return err
	}
	return c.file(filepath.Join(to, control), control)
}

func ignoreExisting(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// file copies a file, unless it is gone.
func (c Copying) file(to, name string) error {
	file, err := c.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is not a file", name))
	}
	copyFile := clone.File
	if c.Gently {
		copyFile = clone.FileSlowly
	}
	if err := copyFile(to, file); err != nil || c.Copied == nil {
		return err
	}
	c.Copied(info.Size())
	return nil
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/repository"
)

var _ engine.Cloner = Engine{}

// Restore unpacks a backup, has mariadb-backup make it consistent, has the server run the archive behind it, and takes
// its users away.
func (e Engine) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) error {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return err
	}
	m, err := readManifest(ctx, store, to.Backup)
	if err != nil {
		return err
	}
	then, err := replayOf(ctx, store, m, to)
	if err != nil {
		return err
	}
	return e.takeOver(ctx, n, m.Version, "The restore of "+called(n.Installation), then, func(w *datadir.Workshop) error {
		return unpack(ctx, store, m.ID, n.Installation, w)
	})
}

// unpack fills the workshop's Data from the stream. Damage shows at the end of the stream at latest.
func unpack(ctx context.Context, store *repository.Store, id string, i engine.Installation, w *datadir.Workshop) error {
	content, err := store.Get(ctx, streamOf(id))
	if err != nil {
		return damaged(err)
	}
	defer content.Close()
	unpacked := w.Feed(content, beside(i, streamProgram), "-x", "-C", w.Data)
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	return unpacked
}

// Clone copies a serving node by mariadb-backup.
func (e Engine) Clone(ctx context.Context, from, to engine.Node, progress func(string)) error {
	if err := archivable(from.Installation); err != nil {
		return err
	}
	what := "The copy of " + called(from.Installation)
	return e.takeOver(ctx, to, from.Installation.FullVersion, what, nil, func(w *datadir.Workshop) error {
		progress("the data is copied.")
		uid, gid := from.Account.IDs()
		if err := errors.Join(datadir.Give(w.Data, uid, gid), os.Chmod(w.Dir, 0o711)); err != nil {
			return err
		}
		if _, err := copyNode(ctx, from, io.Discard, "--target-dir="+w.Data); err != nil {
			return err
		}
		progress("the copy is made ready.")
		uid, gid = w.IDs()
		return datadir.Give(w.Data, uid, gid)
	})
}

// takeOver makes n's data directory of what fill puts into the workshop's Data: a copy by mariadb-backup of a node of
// the full version made. Then is run by the server of the copy; nil is nothing.
func (e Engine) takeOver(
	ctx context.Context, n engine.Node, made, what string, then *replay, fill func(*datadir.Workshop) error,
) error {
	if minor(made) != n.Installation.Version {
		return backstay.Errorf(backstay.Unsupported, "The backup was made by %s %s and cannot be served by %s.",
			dialectOf(n.Installation).product, minor(made), called(n.Installation))
	}
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	u := upgrade{Conversion: conversionTo(n, p), engine: e, to: n, files: p.Files}
	if err := os.RemoveAll(n.DataDir); err != nil { // of a restore that was interrupted
		return err
	}
	err = u.Make(ctx, func(w *datadir.Workshop) error {
		if err := fill(w); err != nil {
			return err
		}
		return u.makeOwn(ctx, w, made, then)
	})
	if err != nil {
		return datadir.Blame(what, err)
	}
	return nil
}

// makeOwn makes a copy consistent, has its server run what comes then, and takes its users away.
func (u upgrade) makeOwn(ctx context.Context, w *datadir.Workshop, made string, then *replay) error {
	if err := w.Run("", beside(u.to.Installation, backupProgram), "--no-defaults", "--prepare",
		"--target-dir="+w.Data); err != nil {
		return err
	}
	if err := removeNotes(w.Data); err != nil {
		return err
	}
	n := u.hidden(w)
	p, err := u.engine.plan(ctx, n)
	if err != nil {
		return err
	}
	p.Files[madeNote(made)] = made + "-MariaDB"
	lines, err := then.prepare(w, u.UID, u.GID)
	if err != nil {
		return err
	}
	p.Files[configFile] += apart + lines
	err = errors.Join(os.Mkdir(filepath.Join(w.Data, tmpDir), 0o700), datadir.Fill(w.Data, u.UID, u.GID, p.Files),
		datadir.Give(w.Data, u.UID, u.GID), os.Chmod(w.Dir, 0o711), os.Lchown(u.Sockets, u.UID, u.GID))
	if err != nil {
		return err
	}
	s, err := u.serve(ctx, w, n)
	if err != nil {
		return err
	}
	defer s.kill() // where it has not ended
	if err := then.run(ctx, n); err != nil {
		return err
	}
	if err := dropAll(ctx, n); err != nil {
		return err
	}
	if err := s.end(ctx); err != nil {
		return err
	}
	return datadir.WriteFiles(w.Data, u.UID, u.GID, u.files)
}

// removeNotes removes what mariadb-backup has noted in a copy.
func removeNotes(data string) error {
	for _, pattern := range []string{"xtrabackup_*", "mariadb_backup_*", "backup-my.cnf"} {
		notes, err := filepath.Glob(filepath.Join(data, pattern))
		for _, path := range notes {
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropAll removes all users as DropUser does: who has defined something stays, locked and without a password, and what
// they had prepared in transactions is rolled back. What a drill has left goes too.
func dropAll(ctx context.Context, n engine.Node) error {
	d := dialectOf(n.Installation)
	return withAdmin(ctx, n, func(conn *sql.Conn) error {
		if err := run(ctx, conn, dismissal()...); err != nil {
			return err
		}
		names, err := column(ctx, conn, "SELECT User FROM mysql.user WHERE Host = '%'")
		if err != nil {
			return err
		}
		for _, name := range names {
			locked := "ALTER USER " + account(name) + " IDENTIFIED VIA mysql_native_password USING 'invalid' ACCOUNT LOCK"
			if err := run(ctx, conn, locked); err != nil {
				return err
			}
		}
		if err := run(ctx, conn, "DROP USER IF EXISTS "+linkAccount); err != nil {
			return err
		}
		if err := endPrepared(ctx, conn, d, nil); err != nil {
			return err
		}
		return removeUnneeded(ctx, conn, d)
	})
}

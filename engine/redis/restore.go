package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/repository"
)

// Restore makes the snapshot the base of an append-only file. The directory gets its name when the snapshot has been
// read to its end, where damage is found at the latest. Users are not part of it.
func (Engine) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) error {
	if !to.Until.IsZero() {
		return backstay.Errorf(backstay.Unsupported, "Between two backups of %s no moment can be restored.",
			productOf(n.Installation).name)
	}
	store, err := repository.Open(r)
	if err != nil {
		return err
	}
	var kept note
	if err := store.Note(ctx, to.Backup, &kept); err != nil {
		return err
	}
	if kept.By.Version != "" {
		if err := kept.By.readableFor(n.Installation); err != nil {
			return err
		}
	}
	content, err := store.Noted(ctx, to.Backup+snapshotSuffix)
	if err != nil {
		return err
	}
	defer content.Close()
	return makeDataOf(n, func(dir string) error {
		if err := writeNew(filepath.Join(dir, restoredBase), content); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, manifestFile), []byte("file "+restoredBase+" seq 1 type b\n"), 0o600)
	})
}

// restoredBase is the file with the data of a node that was restored. The server names its first one so.
const restoredBase = "appendonly.aof.1.base.rdb"

// makeDataOf makes the node's data directory, in the place of what an interrupted attempt has left: with no users but
// the first ones, and with the files of data that fill makes.
func makeDataOf(n engine.Node, fill func(dir string) error) error {
	if err := os.RemoveAll(n.DataDir); err != nil {
		return err
	}
	uid, gid := n.Account.IDs()
	err := datadir.Create(n.DataDir, func(part string) error {
		if err := makeData(part, uid, gid); err != nil {
			return err
		}
		dir := filepath.Join(part, dataFiles)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := fill(dir); err != nil {
			return err
		}
		return datadir.Give(dir, uid, gid)
	})
	if err != nil {
		return datadir.Blame("The copy", fmt.Errorf("make data out of a backup: %w", err))
	}
	return nil
}

// writeNew makes a file with that content.
func writeNew(name string, content io.Reader) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

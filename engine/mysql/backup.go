package mysql

import (
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/repository"
)

// A backup is two objects: what mariadb-backup streams, and a manifest that is put when that is whole and was read
// back. What has no manifest is no backup.

// Programs beside the installation's directory.
const (
	backupProgram = "bin/mariadb-backup"
	streamProgram = "bin/mbstream"
)

const backupsPrefix = "backup/"

// manifest is what the repository knows of a backup.
type manifest struct {
	backstay.Backup
	SHA256 string `json:"sha256"`        // of the stream
	Log    *place `json:"log,omitempty"` // where the archive continues it; nil: nowhere
}

func streamOf(id string) string   { return backupsPrefix + id + "/stream" }
func manifestOf(id string) string { return backupsPrefix + id + "/manifest" }

// backupID matches the names of backups. Early ones are named by the second alone in which they began.
var backupID = regexp.MustCompile(`^\d{8}T\d{6}Z(?:-[a-z2-7]{6})?$`)

// archivable refuses products that have no program to be copied by while they serve.
func archivable(i engine.Installation) error {
	if dialectOf(i).product != mariadb.product {
		return backstay.Errorf(backstay.Unsupported, "%s cannot be backed up: it brings no program that copies a "+
			"database whole while it serves.", called(i))
	}
	return nil
}

func openStore(i engine.Installation, r backstay.Repository) (*repository.Store, error) {
	if err := archivable(i); err != nil {
		return nil, err
	}
	return repository.Open(r)
}

// RestorePoints are there where the product brings a program that takes backups, and it is installed.
func (Engine) RestorePoints(i engine.Installation) backstay.RestorePoints {
	if archivable(i) != nil {
		return backstay.NoRestorePoints
	}
	if _, err := exec.LookPath(beside(i, backupProgram)); err != nil {
		return backstay.NoRestorePoints
	}
	return backstay.AnySecond
}

// Backup streams a copy by mariadb-backup into the repository, and reads it back. InnoDB's tables are written to
// meanwhile; commits wait while tables of other engines are copied, at the end.
func (Engine) Backup(ctx context.Context, n engine.Node, r backstay.Repository, _ bool) (backstay.Backup, error) {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return backstay.Backup{}, err
	}
	began := time.Now().UTC()
	m := manifest{Backup: backstay.Backup{ID: engine.NewBackupID(began), Began: began}}
	var copied ended
	stored, err := store.Put(ctx, streamOf(m.ID), func(w io.Writer) (err error) {
		copied, err = copyNode(ctx, n, w, "--stream=mbstream")
		return err
	})
	if err != nil {
		return backstay.Backup{}, err
	}
	if m.Log, err = placeOf(ctx, n, store, copied); err != nil {
		return backstay.Backup{}, err
	}
	m.Ended, m.Stored, m.SHA256, m.Version = time.Now().UTC(), stored.Size, stored.SHA256, n.Installation.FullVersion
	size, err := clone.Size(n.DataDir)
	if err != nil {
		return backstay.Backup{}, err
	}
	m.Data = backstay.Bytes(size)
	if err := readBack(ctx, store, streamOf(m.ID)); err != nil {
		return backstay.Backup{}, err
	}
	_, err = store.Put(ctx, manifestOf(m.ID), func(w io.Writer) error { return json.NewEncoder(w).Encode(m) })
	return m.Backup, err
}

// placeOf returns where the archive continues a copy that has ended there. It begins the series if there is none yet.
func placeOf(ctx context.Context, n engine.Node, store *repository.Store, copied ended) (*place, error) {
	if copied.number == 0 {
		return nil, nil
	}
	f, err := follow(ctx, n, store)
	if err != nil {
		return nil, err
	}
	defer f.end()
	numbers, err := binlogFiles(f.dir)
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	if err := f.begin(ctx, numbers); err != nil {
		return nil, err
	}
	if held, err := f.holds(ctx, copied.number); err != nil || !held {
		return nil, err
	}
	return f.place(ctx, copied.number, copied.position)
}

// readBack reads an object to its end, where damage is found at the latest.
func readBack(ctx context.Context, store *repository.Store, name string) (err error) {
	content, err := store.Get(ctx, name)
	if err != nil {
		return damaged(err)
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content)
	return err
}

// damaged is Invalid for an object that is gone.
func damaged(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return backstay.Wrapf(err, backstay.Invalid, "The backup is damaged: a part of it is gone.")
	}
	return err
}

// Backups lists the manifests.
func (Engine) Backups(ctx context.Context, n engine.Node, r backstay.Repository) ([]backstay.Backup, error) {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return nil, err
	}
	return readManifests(ctx, store)
}

// readManifests returns the backups in the repository, the oldest first. Manifests that cannot be read are left out
// where another one can.
func readManifests(ctx context.Context, store *repository.Store) (all []backstay.Backup, err error) {
	ids, err := listManifests(ctx, store)
	if err != nil {
		return nil, err
	}
	var spoiled error
	for _, id := range ids {
		m, err := readManifest(ctx, store, id)
		switch {
		case err == nil:
			all = append(all, m.Backup)
		case backstay.KindOf(err) == backstay.Invalid:
			spoiled = err
		case backstay.KindOf(err) == backstay.NotFound: // it is being removed
		default:
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, spoiled
	}
	slices.SortFunc(all, func(a, b backstay.Backup) int { return a.Began.Compare(b.Began) })
	return all, nil
}

// listManifests returns the IDs of the backups that have a manifest.
func listManifests(ctx context.Context, store *repository.Store) (ids []string, err error) {
	entries, err := store.List(ctx, backupsPrefix)
	for _, e := range entries {
		if id := filepath.Base(filepath.Dir(e.Name)); e.Name == manifestOf(id) {
			ids = append(ids, id)
		}
	}
	return ids, err
}

func readManifest(ctx context.Context, store *repository.Store, id string) (m manifest, err error) {
	if !backupID.MatchString(id) {
		return m, backstay.Errorf(backstay.NotFound, "There is no backup %s.", id)
	}
	text, err := store.Text(ctx, manifestOf(id))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// Expire removes the manifests first, so that what is left of a backup is none. Of the archive, nothing is removed as
// long as one is kept whose manifest cannot be read now: what that needs is not known.
func (Engine) Expire(ctx context.Context, n engine.Node, r backstay.Repository, keep []string) error {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return err
	}
	entries, err := store.List(ctx, backupsPrefix)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	var whole []manifest
	known := true
	for _, id := range keep {
		kept[manifestOf(id)], kept[streamOf(id)] = true, true
		m, err := readManifest(ctx, store, id)
		switch backstay.KindOf(err) {
		case backstay.Invalid:
			known = false
		case backstay.NotFound:
		default:
			if err != nil {
				return err
			}
			whole = append(whole, m)
		}
	}
	var manifests, rest []string
	for _, e := range entries {
		switch {
		case kept[e.Name]:
		case filepath.Base(e.Name) == "manifest":
			manifests = append(manifests, e.Name)
		default:
			rest = append(rest, e.Name)
		}
	}
	whole, all, err := withSuccessors(ctx, store, whole)
	if err != nil {
		return err
	}
	var logged []repository.Entry
	if known && all {
		if logged, err = store.List(ctx, archivePrefix); err != nil {
			return err
		}
	}
	err = store.Delete(ctx, time.Now(), slices.Concat(manifests, rest, needless(logged, whole))...)
	if err != nil || !known {
		return err
	}
	oldest := time.Now()
	for _, m := range whole {
		if m.Ended.Before(oldest) {
			oldest = m.Ended
		}
	}
	return store.DropGaps(ctx, oldest)
}

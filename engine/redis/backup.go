package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

// A backup is two objects in the repository: a snapshot, and a note of it that is written when the snapshot is whole.
// What has no note is no backup: Expire removes it.
const (
	snapshotSuffix = ".rdb"
)

// note is what is kept of a backup beside its snapshot.
type note struct {
	backstay.Backup
	By     writer `json:"by"`
	SHA256 string `json:"sha256"` // of the snapshot, as Put returned it
}

// RestorePoints are backups: what a server logs for itself cannot be taken away from it piece by piece.
func (Engine) RestorePoints(engine.Installation) backstay.RestorePoints { return backstay.Backups }

// Backup has the server send a snapshot, and puts that into the repository once it has been checked.
func (Engine) Backup(ctx context.Context, n engine.Node, r backstay.Repository, _ bool) (b backstay.Backup, err error) {
	store, err := repository.Open(r)
	if err != nil {
		return b, err
	}
	b = backstay.Backup{Began: time.Now().UTC(), Version: n.Installation.FullVersion}
	b.ID = engine.NewBackupID(b.Began)
	d, err := newDump(ctx, n)
	if err != nil {
		return b, fmt.Errorf("take a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	stored, err := store.Put(ctx, b.ID+snapshotSuffix, d.writeTo)
	if err != nil {
		return b, fmt.Errorf("store the snapshot: %w", err)
	}
	b.Data, b.Stored, b.Ended = backstay.Bytes(d.size), backstay.Bytes(stored.Size), time.Now().UTC()
	text, err := json.Marshal(note{b, d.by, stored.SHA256})
	if err != nil {
		return b, err
	}
	_, err = store.PutText(ctx, b.ID+repository.NoteSuffix, text)
	return b, err
}

// Archive has nothing to do: what is between two backups cannot be restored.
func (Engine) Archive(
	context.Context, engine.Node, backstay.Repository, time.Duration, time.Time,
) (engine.Archived, error) {
	return engine.Archived{}, nil
}

// Reached says nothing: there is no archive.
func (Engine) Reached(context.Context, engine.Node, backstay.Repository) (engine.Archived, error) {
	return engine.Archived{}, nil
}

// Backups returns what the notes say that have a snapshot. One that is damaged is left out where another is not.
func (Engine) Backups(ctx context.Context, _ engine.Node, r backstay.Repository) ([]backstay.Backup, error) {
	store, err := repository.Open(r)
	if err != nil {
		return nil, err
	}
	entries, err := store.List(ctx, "")
	if err != nil {
		return nil, err
	}
	snapshots := repository.Named(entries, snapshotSuffix)
	found := []backstay.Backup{}
	var damaged error
	for _, id := range repository.Named(entries, repository.NoteSuffix) {
		if !slices.Contains(snapshots, id) {
			continue
		}
		var kept note
		err := store.Note(ctx, id, &kept)
		switch {
		case err == nil:
			found = append(found, kept.Backup)
		case backstay.KindOf(err) == backstay.Invalid:
			damaged = err
		default:
			return nil, err
		}
	}
	if len(found) == 0 {
		return found, damaged
	}
	slices.SortFunc(found, func(a, b backstay.Backup) int { return a.Began.Compare(b.Began) })
	return found, nil
}

// Verify has the server's own program read the snapshots.
func (Engine) Verify(ctx context.Context, n engine.Node, r backstay.Repository) (f engine.Findings, err error) {
	store, err := repository.Open(r)
	if err != nil {
		return f, err
	}
	entries, err := store.List(ctx, "")
	if err != nil {
		return f, err
	}
	f.Backups = map[string]string{}
	for _, id := range repository.Named(entries, repository.NoteSuffix) {
		err := verifyOne(ctx, n, store, id)
		switch kind := backstay.KindOf(err); {
		case err == nil:
			f.Backups[id] = ""
		case kind == backstay.Invalid:
			f.Backups[id] = backstay.SentenceOf(err)
		case kind != backstay.NotFound: // which is that it is being removed
			return f, err
		}
	}
	return f, nil
}

func verifyOne(ctx context.Context, n engine.Node, store *repository.Store, id string) error {
	if err := store.Note(ctx, id, new(note)); err != nil {
		return err
	}
	content, err := store.Noted(ctx, id+snapshotSuffix)
	if err != nil {
		return err
	}
	return errors.Join(checkDump(ctx, n, content), content.Close())
}

// Expire removes notes before snapshots, so that what it leaves when it is interrupted is no backup any more.
func (Engine) Expire(ctx context.Context, _ engine.Node, r backstay.Repository, keep []string) error {
	store, err := repository.Open(r)
	if err != nil {
		return err
	}
	entries, err := store.List(ctx, "")
	if err != nil {
		return err
	}
	noted := repository.Named(entries, repository.NoteSuffix)
	for _, suffix := range []string{repository.NoteSuffix, snapshotSuffix} {
		var surplus []string
		for _, id := range repository.Named(entries, suffix) {
			if !slices.Contains(keep, id) || !slices.Contains(noted, id) {
				surplus = append(surplus, id+suffix)
			}
		}
		if err := store.Delete(ctx, time.Now(), surplus...); err != nil {
			return err
		}
	}
	return nil
}

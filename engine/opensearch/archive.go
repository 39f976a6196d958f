package opensearch

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

var _ engine.Archiver = Engine{}

// A backup is a snapshot of OpenSearch's own. In our repository it is objects of three kinds:
//
//	blobs/NAME  a file with documents, by the name that OpenSearch gives once. Backups share them
//	ID.index    all that OpenSearch writes of the snapshot beside these files, as a tar archive
//	ID.json     a note that is written when the rest is there. What has no note is no backup: Expire removes it
const (
	blobPrefix  = "blobs/"
	indexSuffix = ".index"
)

// note is what is kept of a backup beside its snapshot.
type note struct {
	backstay.Backup
	Since   time.Time `json:"since"` // of the first backup with which this one may share blobs
	Blobs   []blob    `json:"blobs"`
	Missing []string  `json:"missing,omitempty"` // names of indices that have a part which never was anywhere
}

// blob is a file of a snapshot's that has documents.
type blob struct {
	Path   string         `json:"path"` // below the directory of snapshots
	Data   backstay.Bytes `json:"data"`
	Stored backstay.Bytes `json:"stored"` // that it takes in our repository
}

// object is the blob's name in our repository. Its own begins with what no such name does.
func (b blob) object() string {
	return blobPrefix + "b" + strings.TrimPrefix(path.Base(b.Path), dataPrefix)
}

// snapshot is the name by which OpenSearch knows a backup: it takes no capital letters.
func snapshotOf(id string) string { return strings.ToLower(id) }

// RestorePoints are backups: what the server logs of each index it removes again, and no moment is one of all indices.
func (Engine) RestorePoints(engine.Installation) backstay.RestorePoints { return backstay.Backups }

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

// Backups returns what the notes say. One that cannot be read is left out where another can.
func (Engine) Backups(ctx context.Context, _ engine.Node, r backstay.Repository) ([]backstay.Backup, error) {
	_, _, notes, err := open(ctx, r)
	found := []backstay.Backup{}
	for _, kept := range notes {
		found = append(found, kept.Backup)
	}
	if len(found) > 0 && backstay.KindOf(err) == backstay.Invalid {
		err = nil
	}
	if err != nil && backstay.KindOf(err) != backstay.Invalid {
		return nil, err
	}
	return found, err
}

// open returns our repository, what lies in it, and the notes that can be read, the oldest first. The error is Invalid,
// and all of that is returned nevertheless, if there is one that cannot.
func open(ctx context.Context, r backstay.Repository) (
	store *repository.Store, entries []repository.Entry, notes []note, err error,
) {
	if store, err = repository.Open(r); err != nil {
		return nil, nil, nil, err
	}
	if entries, err = store.List(ctx, ""); err != nil {
		return nil, nil, nil, err
	}
	var damaged error
	for _, id := range repository.Named(entries, repository.NoteSuffix) {
		var kept note
		err := store.Note(ctx, id, &kept)
		switch {
		case err == nil:
			notes = append(notes, kept)
		case backstay.KindOf(err) == backstay.Invalid:
			damaged = err
		default:
			return nil, nil, nil, err
		}
	}
	slices.SortFunc(notes, func(a, b note) int { return a.Began.Compare(b.Began) })
	return store, entries, notes, damaged
}

// Verify reads all objects that notes speak of, each of them once.
func (Engine) Verify(ctx context.Context, _ engine.Node, r backstay.Repository) (f engine.Findings, err error) {
	store, entries, notes, err := open(ctx, r)
	if err != nil && backstay.KindOf(err) != backstay.Invalid {
		return f, err
	}
	f.Backups = map[string]string{}
	for _, id := range repository.Named(entries, repository.NoteSuffix) {
		f.Backups[id] = "The note of the backup is damaged."
	}
	looked := map[string]error{}
	for _, kept := range notes {
		err := verifyOne(ctx, store, kept, looked)
		switch {
		case err == nil:
			f.Backups[kept.ID] = ""
		case backstay.KindOf(err) == backstay.Invalid:
			f.Backups[kept.ID] = backstay.SentenceOf(err)
		default:
			return f, err
		}
	}
	return f, nil
}

func verifyOne(ctx context.Context, store *repository.Store, kept note, looked map[string]error) error {
	names := []string{kept.ID + indexSuffix}
	for _, b := range kept.Blobs {
		names = append(names, b.object())
	}
	for _, name := range names {
		err, done := looked[name]
		if !done {
			err = readThrough(ctx, store, name)
			looked[name] = err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readThrough(ctx context.Context, store *repository.Store, name string) error {
	content, err := store.Noted(ctx, name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, content)
	return errors.Join(err, content.Close())
}

// Expire removes notes before all else, so that what it leaves when it is interrupted is no backup any more. Where a
// note that is kept cannot be read, all blobs stay: some are that backup's.
func (Engine) Expire(ctx context.Context, _ engine.Node, r backstay.Repository, keep []string) error {
	store, entries, notes, err := open(ctx, r)
	if err != nil && backstay.KindOf(err) != backstay.Invalid {
		return err
	}
	shared, unread := map[string]bool{}, repository.Named(entries, repository.NoteSuffix)
	for _, kept := range notes {
		unread = slices.DeleteFunc(unread, func(id string) bool { return id == kept.ID })
		for _, b := range kept.Blobs {
			shared[b.object()] = shared[b.object()] || slices.Contains(keep, kept.ID)
		}
	}
	unknown := slices.ContainsFunc(unread, func(id string) bool { return slices.Contains(keep, id) })
	var gone, surplus []string
	noted := repository.Named(entries, repository.NoteSuffix)
	for _, e := range entries {
		id := strings.TrimSuffix(strings.TrimSuffix(e.Name, repository.NoteSuffix), indexSuffix)
		isKept := slices.Contains(keep, id) && slices.Contains(noted, id)
		switch {
		case strings.HasPrefix(e.Name, blobPrefix):
			if !shared[e.Name] && !unknown {
				surplus = append(surplus, e.Name)
			}
		case isKept:
		case strings.HasSuffix(e.Name, repository.NoteSuffix):
			gone = append(gone, e.Name)
		default:
			surplus = append(surplus, e.Name)
		}
	}
	if err := store.Delete(ctx, time.Now(), gone...); err != nil {
		return err
	}
	return store.Delete(ctx, time.Now(), surplus...)
}

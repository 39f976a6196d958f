package opensearch

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

// chain is how long backups share what the first of them has brought: if that is damaged, so are they all.
const chain = 7 * 24 * time.Hour

// Backup has the server make a snapshot, and takes away what it writes while it does: of a large instance there is
// never room for all of that beside it.
func (Engine) Backup(ctx context.Context, n engine.Node, r backstay.Repository, _ bool) (b backstay.Backup, err error) {
	store, entries, notes, err := open(ctx, r)
	if err != nil && backstay.KindOf(err) != backstay.Invalid {
		return b, err
	}
	dir, err := os.OpenRoot(n.DataDir) // the server may have put links into it
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	now := time.Now().UTC()
	t := taking{shelf: ofBackups, to: inStore{store}, node: n, dir: dir, blobs: map[string]blob{}}
	t.Backup = backstay.Backup{ID: engine.NewBackupID(now), Began: now, Version: n.Installation.FullVersion}
	err = withAdmin(ctx, n, func(c *client) error {
		if err := t.begin(ctx, c, entries, notes); err != nil {
			return err
		}
		if err := t.pace(ctx, c); err != nil {
			return err
		}
		return t.retire(ctx, c, snapshotOf(t.ID))
	})
	if err != nil {
		return b, fmt.Errorf("take a snapshot: %w", err)
	}
	if err := t.finish(ctx, store); err != nil {
		return b, fmt.Errorf("store the snapshot: %w", err)
	}
	return t.Backup, nil
}

// taking is a snapshot that is being taken, for a backup or a copy of the node.
type taking struct {
	note
	shelf
	to    taker
	node  engine.Node
	dir   *os.Root        // the node's data directory
	blobs map[string]blob // by path: those that were taken
	fresh []string        // of them, those that this snapshot has brought
	spare backstay.Bytes  // that is to stay free on the node's disk
}

// taker is where files with documents go.
type taker interface {
	// put keeps the content of a file, and returns b with the room that it takes.
	put(ctx context.Context, b blob, content io.Reader) (blob, error)
	// forget is told of what it keeps of a snapshot that was broken off.
	forget(b blob) error
}

// inStore is our repository, from which Expire removes what belongs to nothing.
type inStore struct{ *repository.Store }

func (s inStore) put(ctx context.Context, b blob, content io.Reader) (blob, error) {
	stored, err := s.Put(ctx, b.object(), func(w io.Writer) error { _, err := io.Copy(w, content); return err })
	b.Data, b.Stored = stored.Data, stored.Size
	return b, err
}

func (inStore) forget(blob) error { return nil }

// begin goes on from the latest backup, if that is what the server has of snapshots, and anew otherwise.
func (t *taking) begin(ctx context.Context, c *client, entries []repository.Entry, notes []note) error {
	sizes := map[string]backstay.Bytes{}
	for _, e := range entries {
		sizes[e.Name] = e.Size
	}
	isThere := func(b blob) bool { return sizes[b.object()] == b.Stored }
	for _, before := range slices.Backward(notes) {
		if t.Began.Sub(before.Since) > chain {
			break
		}
		if has, err := t.has(ctx, c, before.ID); err != nil || !has {
			continue
		}
		all := !slices.ContainsFunc(before.Blobs, func(b blob) bool { return !isThere(b) })
		if !all || t.retire(ctx, c, snapshotOf(before.ID)) != nil {
			break
		}
		t.Since = before.Since
		for _, b := range before.Blobs {
			t.blobs[b.Path] = b
		}
		return nil
	}
	t.Since = t.Began
	return t.clear(ctx, c, t.dir)
}

// retire removes all snapshots of the server's but one, with the files that it alone had. One that is being made is
// broken off.
func (t *taking) retire(ctx context.Context, c *client, keep string) error {
	var all struct {
		Snapshots []struct{ Snapshot string }
	}
	if err := c.ask(ctx, http.MethodGet, t.url("_all")+"?verbose=false", nil, &all); err != nil {
		return err
	}
	for _, s := range all.Snapshots {
		if s.Snapshot == keep {
			continue
		}
		if err := c.ask(ctx, http.MethodDelete, t.url(s.Snapshot), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// made is what the server says of a snapshot that it has made.
type made struct {
	Snapshot struct {
		State    string
		Failures []struct {
			Index  string
			Shard  int `json:"shard_id"`
			Reason string
		}
	}
}

// pause is how long files are left to be written before it is looked which can be taken away.
const pause = 50 * time.Millisecond

// snapshot has the server make one, of all but what the security plugin keeps: users are the platform's.
func (t *taking) snapshot(ctx context.Context, c *client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var disk unix.Statfs_t
	if err := unix.Statfs(t.node.DataDir, &disk); err != nil {
		return err
	}
	t.spare = backstay.Bytes(int64(disk.Bavail)*disk.Bsize) / 2
	var answer made
	ended := make(chan error, 1)
	go func() {
		ended <- c.ask(ctx, http.MethodPut, t.url(snapshotOf(t.ID))+"?wait_for_completion=true", map[string]any{
			"indices": everything, "expand_wildcards": "all", "include_global_state": true, "partial": true,
		}, &answer)
	}()
	for {
		select {
		case err := <-ended:
			if err == nil {
				err = t.judge(ctx, c, answer)
			}
			if err == nil {
				err = t.take(ctx, true)
			}
			return err
		case <-time.After(pause):
			if err := t.take(ctx, false); err != nil {
				cancel()
				<-ended // which says no more than that
				return err
			}
		}
	}
}

// everything are all indices but those of the security plugin.
const everything = "*,-.opendistro_security*,-.opensearch-security*"

// judge wants the snapshot to have all that there is. What never was on any node, because its index asks for a node
// that there is not, holds nothing. An index that was deleted meanwhile the server leaves out.
func (t *taking) judge(ctx context.Context, c *client, answer made) error {
	if answer.Snapshot.State != "SUCCESS" && answer.Snapshot.State != "PARTIAL" {
		return backstay.Errorf(backstay.Unavailable, "OpenSearch has not made the snapshot: it is %s.",
			answer.Snapshot.State)
	}
	without := map[string]bool{}
	for _, f := range answer.Snapshot.Failures {
		if strings.Contains(f.Reason, diskFull) {
			return errNoRoom
		}
		var state struct {
			Metadata struct {
				Indices map[string]struct {
					InSync map[string][]string `json:"in_sync_allocations"`
				}
			}
		}
		where := "/_cluster/state/metadata/" + url.PathEscape(f.Index) +
			"?filter_path=metadata.indices.*.in_sync_allocations"
		if err := c.ask(ctx, http.MethodGet, where, nil, &state); err != nil {
			return err
		}
		if len(state.Metadata.Indices[f.Index].InSync[fmt.Sprint(f.Shard)]) > 0 {
			return backstay.Wrapf(errors.New(f.Reason), backstay.Unavailable,
				"A part of the index %s cannot be read, so there is no snapshot that is whole.", f.Index)
		}
		without[f.Index] = true
	}
	t.Missing = slices.Sorted(maps.Keys(without))
	return nil
}

// take has the taker keep files with documents, and leaves empty ones: all of them at the end, and before that those
// which nobody writes any more, as long as there is room for others.
func (t *taking) take(ctx context.Context, all bool) error {
	return t.walk(func(name string, size int64) error {
		if !all && !engine.HasRoom(t.node.DataDir, t.spare) {
			return errNoRoom
		}
		if size == 0 || !strings.HasPrefix(path.Base(name), dataPrefix) {
			return nil
		}
		f, err := t.dir.OpenFile(path.Join(snapshotDir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server has removed it
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if !all && isWritten(f) {
			return nil
		}
		b, err := t.to.put(ctx, blob{Path: name}, f)
		if err != nil {
			return err
		}
		t.blobs[name] = b
		t.fresh = append(t.fresh, name)
		t.Stored += b.Stored
		return t.emptied(name)
	})
}

func (t *taking) emptied(name string) error {
	f, err := t.dir.OpenFile(path.Join(snapshotDir, name), os.O_WRONLY|os.O_TRUNC|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// isWritten tells whether somebody has the file open to write it: the kernel then gives no lease for it.
func isWritten(f *os.File) bool {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return true
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err != nil
}

// walk calls do with each file on the shelf, by its path below snapshotDir.
func (t *taking) walk(do func(name string, size int64) error) error {
	return fs.WalkDir(t.dir.FS(), t.path(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return ignoreGone(err)
		}
		below, err := filepath.Rel(snapshotDir, name)
		if err != nil {
			return err
		}
		return do(below, info.Size())
	})
}

// ignoreGone is nil for what the server has removed meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// finish puts the rest of the snapshot into our repository, and the note behind it.
func (t *taking) finish(ctx context.Context, store *repository.Store) error {
	index, err := store.Put(ctx, t.ID+indexSuffix, func(w io.Writer) error {
		archive := tar.NewWriter(w)
		err := t.index(func(name string, size int64, content io.Reader) error {
			header := &tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: t.Began}
			if err := archive.WriteHeader(header); err != nil {
				return err
			}
			_, err := io.Copy(archive, content)
			return err
		})
		return errors.Join(err, archive.Close())
	})
	if err != nil {
		return err
	}
	for _, b := range t.Blobs {
		t.Data += b.Data
	}
	t.Data, t.Stored, t.Ended = t.Data+index.Data, t.Stored+index.Size, time.Now().UTC()
	text, err := json.Marshal(t.note)
	if err != nil {
		return err
	}
	_, err = store.PutText(ctx, t.ID+repository.NoteSuffix, text)
	return err
}

// index calls do with each file of the snapshot beside those with documents, of which it notes those that belong to it.
// An empty one that was never taken was left by a snapshot that was broken off, and belongs to nothing.
func (t *taking) index(do func(name string, size int64, content io.Reader) error) error {
	return t.walk(func(name string, size int64) error {
		if strings.HasPrefix(path.Base(name), dataPrefix) {
			if b, ok := t.blobs[name]; ok {
				t.Blobs = append(t.Blobs, b)
			}
			return nil
		}
		f, err := t.dir.OpenFile(path.Join(snapshotDir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return do(name, size, f)
	})
}

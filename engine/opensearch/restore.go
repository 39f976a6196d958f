package opensearch

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/repository"
)

// Restore has a server without clients take the snapshot up, one index after the other. Users are not part of it.
func (e Engine) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) error {
	if !to.Until.IsZero() {
		return backstay.Errorf(backstay.Unsupported, "Between two backups of %s no moment can be restored.", product)
	}
	store, err := repository.Open(r)
	if err != nil {
		return err
	}
	var kept note
	if err := store.Note(ctx, to.Backup, &kept); err != nil {
		return err
	}
	if err := readable(kept.Version, n.Installation); err != nil {
		return err
	}
	if err := wantWhole(ctx, store, kept); err != nil {
		return err
	}
	if err := os.RemoveAll(n.DataDir); err != nil {
		return err
	}
	err = makeBy(ctx, e, n, func(s *scratch) error {
		if err := s.layOut(ctx, store, kept.ID); err != nil {
			return err
		}
		return s.takeUp(ctx, kept, func(ctx context.Context, b blob) (io.ReadCloser, error) {
			return store.Noted(ctx, b.object())
		})
	})
	if err != nil {
		return datadir.Blame("The copy", fmt.Errorf("make data out of a backup: %w", err))
	}
	return nil
}

// wantWhole finds out that parts of a backup are gone, before anything is made of the others.
func wantWhole(ctx context.Context, store *repository.Store, kept note) error {
	entries, err := store.List(ctx, "")
	if err != nil {
		return err
	}
	sizes := map[string]backstay.Bytes{}
	for _, entry := range entries {
		sizes[entry.Name] = entry.Size
	}
	for _, b := range kept.Blobs {
		switch size, there := sizes[b.object()]; {
		case !there:
			return repository.ErrMissing
		case size != b.Stored:
			return backstay.Errorf(backstay.Invalid, "The backup is damaged: a part of it is not as long as it was.")
		}
	}
	return nil
}

// layOut writes what OpenSearch wrote of the snapshot beside the files with documents.
func (s *scratch) layOut(ctx context.Context, store *repository.Store, id string) error {
	content, err := store.Noted(ctx, id+indexSuffix)
	if err != nil {
		return err
	}
	defer content.Close()
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, content) // damage may show in what is behind the archive's end
			return err
		}
		if err != nil {
			return err
		}
		if err := s.write(path.Join(snapshotDir, header.Name), archive); err != nil {
			return err
		}
	}
}

// write makes one file.
func (s *scratch) write(name string, content io.Reader) error {
	if err := s.dir.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := s.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// owned gives what was written to the server's user.
func (s *scratch) owned(below string) error {
	return datadir.Give(filepath.Join(s.node.DataDir, snapshotDir, below), s.uid, s.gid)
}

// takeUp has a server take up a snapshot, all of which lies on the shelf of backups but for files with documents.
func (s *scratch) takeUp(ctx context.Context, kept note, open opener) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	err := withAdmin(ctx, s.node, func(c *client) error { return s.restore(ctx, c, ofBackups, kept, open) })
	if err != nil {
		return err
	}
	return s.end()
}

func (s *scratch) restore(ctx context.Context, c *client, from shelf, kept note, open opener) error {
	// It is for nobody to wait for, and what the plan bears was asked when it was made.
	wanted := map[string]any{"transient": map[string]string{
		"indices.recovery.max_bytes_per_sec": "0b", "cluster.max_shards_per_node": "100000",
	}}
	if err := c.ask(ctx, http.MethodPut, "/_cluster/settings", wanted, nil); err != nil {
		return err
	}
	if err := from.register(ctx, c, fastest); err != nil {
		return err
	}
	indices, err := s.indices(from)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(indices)) {
		below := path.Join(from.dir, "indices", indices[name])
		files := slices.DeleteFunc(slices.Clone(kept.Blobs), func(b blob) bool {
			return !strings.HasPrefix(b.Path, below+"/")
		})
		for _, b := range files {
			if err := s.pipe(b); err != nil {
				return err
			}
		}
		if err := s.owned(below); err != nil {
			return err
		}
		err := s.feed(ctx, files, open, func(ctx context.Context) error {
			return from.restoreIndex(ctx, c, kept, name)
		})
		if err != nil {
			return err
		}
		if err := s.dir.RemoveAll(path.Join(snapshotDir, below)); err != nil {
			return err
		}
	}
	rest := map[string]any{"indices": "-*", "include_global_state": true}
	if err := c.ask(ctx, http.MethodPost, from.restoring(kept), rest, nil); err != nil {
		return err
	}
	if err := c.ask(ctx, http.MethodDelete, from.url(), nil, nil); err != nil {
		return err
	}
	return s.dir.RemoveAll(snapshotDir)
}

func (s shelf) restoring(kept note) string {
	return s.url(snapshotOf(kept.ID), "_restore") + "?wait_for_completion=true"
}

// listing matches the names of files in which OpenSearch lists what its repository has; the highest number is the last.
var listing = regexp.MustCompile(`^index-([0-9]+)$`)

// indices returns the directories of the snapshot's indices, keyed by name.
func (s *scratch) indices(from shelf) (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.node.DataDir, from.path()))
	if err != nil {
		return nil, err
	}
	last, newest := "", -1
	for _, entry := range entries {
		match := listing.FindStringSubmatch(entry.Name())
		if match == nil {
			continue
		}
		if number, err := strconv.Atoi(match[1]); err == nil && number > newest {
			last, newest = entry.Name(), number
		}
	}
	text, err := s.dir.ReadFile(path.Join(from.path(), last))
	if err != nil {
		return nil, err
	}
	var all struct {
		Indices map[string]struct{ ID string }
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, backstay.Wrapf(err, backstay.Invalid, "The snapshot is damaged: its index cannot be read.")
	}
	found := map[string]string{}
	for name, index := range all.Indices {
		found[name] = index.ID
	}
	return found, nil
}

// restoreIndex takes one index up. Where it asks to be, there may be nothing, so it is not asked again.
func (s shelf) restoreIndex(ctx context.Context, c *client, kept note, name string) error {
	var answer struct {
		Snapshot struct{ Shards struct{ Failed int } }
	}
	err := c.ask(ctx, http.MethodPost, s.restoring(kept), map[string]any{
		"indices": name, "include_global_state": false, "partial": true,
		"ignore_index_settings": "index.routing.allocation.*",
	}, &answer)
	if err == nil && answer.Snapshot.Shards.Failed > 0 && !slices.Contains(kept.Missing, name) {
		return backstay.Errorf(backstay.Invalid, "The snapshot is damaged: OpenSearch cannot read the index %s.", name)
	}
	return err
}

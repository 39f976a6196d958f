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

// Restore has a server without clients take the snapshot up, one index after the other: of the files there are never
// more beside the data than those of one. Users are not part of it.
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
		if err := s.start(ctx); err != nil {
			return err
		}
		err := withAdmin(ctx, s.node, func(c *client) error { return s.restore(ctx, c, store, kept) })
		if err != nil {
			return err
		}
		return s.end()
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
		if err := s.write(header.Name, archive); err != nil {
			return err
		}
	}
}

// write makes one file of the snapshot.
func (s *scratch) write(name string, content io.Reader) error {
	name = path.Join(snapshotDir, name)
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

// restore takes all of the snapshot up, and forgets where it came from.
func (s *scratch) restore(ctx context.Context, c *client, store *repository.Store, kept note) error {
	// It is for nobody to wait for, and what the plan bears was asked when it was made.
	wanted := map[string]any{"transient": map[string]string{
		"indices.recovery.max_bytes_per_sec": "0b", "cluster.max_shards_per_node": "100000",
	}}
	if err := c.ask(ctx, http.MethodPut, "/_cluster/settings", wanted, nil); err != nil {
		return err
	}
	if err := register(ctx, c, fastest); err != nil {
		return err
	}
	indices, err := s.indices()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(indices)) {
		below := path.Join(snapshotRoot, "indices", indices[name])
		if err := s.fetch(ctx, store, kept, below); err != nil {
			return err
		}
		if err := restoreIndex(ctx, c, kept, name); err != nil {
			return err
		}
		if err := s.dir.RemoveAll(path.Join(snapshotDir, below)); err != nil {
			return err
		}
	}
	rest := map[string]any{"indices": "-*", "include_global_state": true}
	if err := c.ask(ctx, http.MethodPost, restoring(kept), rest, nil); err != nil {
		return err
	}
	if err := c.ask(ctx, http.MethodDelete, snapshots, nil, nil); err != nil {
		return err
	}
	return s.dir.RemoveAll(snapshotDir)
}

func restoring(kept note) string {
	return snapshots + "/" + snapshotOf(kept.ID) + "/_restore?wait_for_completion=true"
}

// listing matches the names of files in which OpenSearch lists what its repository has; the highest number is the last.
var listing = regexp.MustCompile(`^index-([0-9]+)$`)

// indices returns the directories of the snapshot's indices, keyed by name.
func (s *scratch) indices() (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.node.DataDir, snapshotDir, snapshotRoot))
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
	text, err := s.dir.ReadFile(path.Join(snapshotDir, snapshotRoot, last))
	if err != nil {
		return nil, err
	}
	var all struct {
		Indices map[string]struct{ ID string }
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, backstay.Wrapf(err, backstay.Invalid, "The backup is damaged: its index cannot be read.")
	}
	found := map[string]string{}
	for name, index := range all.Indices {
		found[name] = index.ID
	}
	return found, nil
}

// fetch writes the files with documents of one index.
func (s *scratch) fetch(ctx context.Context, store *repository.Store, kept note, below string) error {
	for _, b := range kept.Blobs {
		if !strings.HasPrefix(b.Path, below+"/") {
			continue
		}
		content, err := store.Noted(ctx, b.object())
		if err != nil {
			return err
		}
		if err := errors.Join(s.write(b.Path, content), content.Close()); err != nil {
			return err
		}
	}
	return s.owned(below)
}

// restoreIndex takes one index up. Where it asks to be, there may be nothing, so it is not asked again.
func restoreIndex(ctx context.Context, c *client, kept note, name string) error {
	var answer struct {
		Snapshot struct{ Shards struct{ Failed int } }
	}
	err := c.ask(ctx, http.MethodPost, restoring(kept), map[string]any{
		"indices": name, "include_global_state": false, "partial": true,
		"ignore_index_settings": "index.routing.allocation.*",
	}, &answer)
	if err == nil && answer.Snapshot.Shards.Failed > 0 && !slices.Contains(kept.Missing, name) {
		return backstay.Errorf(backstay.Invalid, "The backup is damaged: OpenSearch cannot read the index %s.", name)
	}
	return err
}

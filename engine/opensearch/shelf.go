package opensearch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"

	"github.com/backstay/backstay"
)

// shelf is a repository of the server's, which lies beside its data. What is in it is the latest snapshot alone, and of
// that no documents: once a file of them is where it is to go, nothing but an empty one of its name is left, by which
// the server knows that it is there, since what is in it stands elsewhere. It reads none to make a snapshot.
type shelf struct {
	name string // by which the server knows it
	dir  string // below snapshotDir
}

var (
	ofBackups = shelf{"backstay", "all"}
	ofClones  = shelf{cloneShelf, cloneShelf}
)

const (
	cloneShelf  = "clone"
	snapshotDir = "snapshots" // below the data directory
	dataPrefix  = "__"        // of the names of files with documents
)

// url is that of the repository, or of a snapshot in it.
func (s shelf) url(below ...string) string {
	return path.Join(append([]string{"/_snapshot", s.name}, below...)...)
}

// path is below the data directory.
func (s shelf) path() string { return path.Join(snapshotDir, s.dir) }

// has tells whether the server finds a snapshot there.
func (s shelf) has(ctx context.Context, c *client, id string) (bool, error) {
	err := c.ask(ctx, http.MethodGet, s.url(snapshotOf(id)), nil, nil)
	var said *refusal
	if errors.As(err, &said) {
		return false, nil
	}
	return err == nil, err
}

// clear takes a shelf away from the server, with all that is in it.
func (s shelf) clear(ctx context.Context, c *client, dir *os.Root) error {
	var said *refusal
	// One that is being made by a call that was interrupted is broken off. What is damaged cannot be removed so.
	err := c.ask(ctx, http.MethodDelete, s.url("*"), nil, nil)
	if err != nil && !errors.As(err, &said) {
		return err
	}
	err = c.ask(ctx, http.MethodDelete, s.url(), nil, nil)
	if err != nil && !(errors.As(err, &said) && said.status == http.StatusNotFound) {
		return err
	}
	return dir.RemoveAll(s.path())
}

// register tells the server of a shelf, and how much it may write in a second. Files are of a size of which some have
// room on a disk that is nearly full, so that each is taken away while the next is written.
func (s shelf) register(ctx context.Context, c *client, pace backstay.Bytes) error {
	settings := map[string]any{
		"location": s.dir, "chunk_size": "8mb", "max_snapshot_bytes_per_sec": fmt.Sprintf("%db", pace),
	}
	wanted := map[string]any{"type": "fs", "settings": settings}
	return c.ask(ctx, http.MethodPut, s.url()+"?verify=false", wanted, nil)
}

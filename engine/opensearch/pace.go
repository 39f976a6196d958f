package opensearch

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// How much the server may write of a snapshot in a second: what its disk bears, where there is room for all of it
// beside the data. Elsewhere it is slow enough for what it writes to be taken away meanwhile, and for nothing to be
// full if we die before that; and slower where the repository cannot keep up.
const (
	fastest = 40 * backstay.MB
	slowest = backstay.MB / 2
)

var errNoRoom error = backstay.Errorf(backstay.Unavailable, "There is no room for a snapshot beside the database.")

// pace has the server make the snapshot as fast as there is room for it.
func (t *taking) pace(ctx context.Context, c *client) error {
	var stats struct {
		All struct {
			Primaries struct {
				Store struct {
					Size int64 `json:"size_in_bytes"`
				}
			}
		} `json:"_all"`
	}
	if err := flush(ctx, c); err != nil { // which the snapshot begins with, and which makes room
		return err
	}
	if err := c.ask(ctx, http.MethodGet, "/_stats/store", nil, &stats); err != nil {
		return err
	}
	pace := fastest
	if !engine.HasRoom(t.node.DataDir, 2*backstay.Bytes(stats.All.Primaries.Store.Size)) {
		pace /= 5
	}
	for {
		if err := t.register(ctx, c, pace); err != nil {
			return err
		}
		err := t.snapshot(ctx, c)
		if err == nil {
			return nil
		}
		if err := t.undo(ctx, c, err); !errors.Is(err, errNoRoom) || pace <= slowest {
			return err
		}
		pace /= 4
	}
}

// undoPatience is how long the server may take to break off what nobody waits for any more.
const undoPatience = 10 * time.Second

// undo breaks the snapshot off, which the server would go on with, and removes what there is of it.
func (t *taking) undo(ctx context.Context, c *client, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
	defer cancel()
	// Where it does not answer, or has made none, there is nothing to be broken off.
	_ = c.ask(ctx, http.MethodDelete, t.url(snapshotOf(t.ID)), nil, nil)
	for _, name := range t.fresh {
		why = errors.Join(why, t.to.forget(t.blobs[name]), ignoreGone(t.dir.Remove(path.Join(snapshotDir, name))))
		delete(t.blobs, name)
	}
	t.fresh, t.Stored = nil, 0
	return errors.Join(why, t.walk(func(name string, size int64) error {
		if size == 0 || !strings.HasPrefix(path.Base(name), dataPrefix) {
			return nil
		}
		return ignoreGone(t.dir.Remove(path.Join(snapshotDir, name)))
	}))
}

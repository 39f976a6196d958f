package opensearch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/step"
)

var _ engine.Cloner = Engine{}

// Clone has the node make a snapshot, carries over what it writes while it does, and has a server without clients take
// that up, as a restore does. The snapshot is apart from those of backups, and nothing of it stays.
func (e Engine) Clone(ctx context.Context, from, to engine.Node, progress func(string)) error {
	if err := readable(from.Installation.FullVersion, to.Installation); err != nil {
		return err
	}
	if err := os.RemoveAll(to.DataDir); err != nil { // of a clone that was interrupted
		return err
	}
	err := makeBy(ctx, e, to, func(s *scratch) error {
		progress("the data is copied.")
		taken, err := s.takeFrom(ctx, from)
		if err != nil {
			return err
		}
		progress("the copy is made ready.")
		return step.Run(ctx, step.Step{Name: "opensearch.clone-made", Do: func(ctx context.Context) error {
			return errors.Join(s.takeUp(ctx, taken, s.carried), s.dir.RemoveAll(carriedDir))
		}})
	})
	if err != nil {
		return datadir.Blame("The copy", fmt.Errorf("make a copy of a node: %w", err))
	}
	return nil
}

// takeFrom carries a snapshot of all that the node keeps over to the scratch directory. Of one node one is made at a
// time: they would be in each other's way, and by that it is known that what lies on the shelf was left.
func (s *scratch) takeFrom(ctx context.Context, from engine.Node) (taken note, err error) {
	unlock, err := engine.LockDir(ctx, from.DataDir)
	if err != nil {
		return taken, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	dir, err := os.OpenRoot(from.DataDir) // the server may have put links into it
	if err != nil {
		return taken, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	t := taking{shelf: ofClones, to: s, node: from, dir: dir, blobs: map[string]blob{}}
	t.Began = time.Now().UTC()
	t.ID = engine.NewBackupID(t.Began)
	err = withAdmin(ctx, from, func(c *client) (err error) {
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
			defer cancel()
			err = errors.Join(err, t.clear(ctx, c, dir))
		}()
		return step.Run(ctx, step.Step{Name: "opensearch.clone-taken", Do: func(ctx context.Context) error {
			if err := t.clear(ctx, c, dir); err != nil {
				return err
			}
			if err := t.pace(ctx, c); err != nil {
				return err
			}
			return t.index(func(name string, _ int64, content io.Reader) error {
				return s.keep(path.Join(snapshotDir, forBackups(name)), content)
			})
		}})
	})
	for i, b := range t.Blobs {
		t.Blobs[i].Path = forBackups(b.Path)
	}
	return t.note, err
}

// forBackups is where a file is on the shelf of backups that is at name on that of clones. Off this, a server that
// starts takes nothing up.
func forBackups(name string) string {
	return path.Join(ofBackups.dir, strings.TrimPrefix(name, ofClones.dir+"/"))
}

// carriedDir is where files with documents of a node's snapshot lie until they are read.
const carriedDir = "carried" // below the data directory

func (b blob) carried() string { return path.Join(carriedDir, path.Base(b.Path)) }

// put makes a copy of a file with documents.
func (s *scratch) put(_ context.Context, b blob, content io.Reader) (blob, error) {
	return b, s.keep(b.carried(), content)
}

// forget removes it, for the room that it takes.
func (s *scratch) forget(b blob) error { return s.dir.Remove(b.carried()) }

// carried opens it, for the last time: it takes no room any more when it has been read.
func (s *scratch) carried(_ context.Context, b blob) (io.ReadCloser, error) {
	f, err := s.dir.Open(b.carried())
	if err != nil {
		return nil, err
	}
	return f, s.dir.Remove(b.carried())
}

// keep writes a file of a node's snapshot. Where that fails, it is not the node's fault.
func (s *scratch) keep(name string, content io.Reader) error {
	if err := s.write(name, content); err != nil {
		return datadir.Blame("The copy", err)
	}
	return nil
}

// sweepPatience is how long it is waited for a lock that is free, or held by who copies the node.
const sweepPatience = 10 * time.Millisecond

// sweep takes away what was left by a clone that was killed, whose server goes on with the snapshot. Where one is being
// made, that sees to it.
func sweep(ctx context.Context, c *client, n engine.Node) (err error) {
	limited, cancel := context.WithTimeout(ctx, sweepPatience)
	defer cancel()
	unlock, err := engine.LockDir(limited, n.DataDir)
	if errors.Is(err, context.DeadlineExceeded) {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	dir, err := os.OpenRoot(n.DataDir) // the server may have put links into it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return ofClones.clear(ctx, c, dir)
}

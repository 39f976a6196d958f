package postgres

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
)

var _ engine.Replicator = Engine{}

// Replicates is true of each version.
func (Engine) Replicates(engine.Installation) bool { return true }

// Copy copies the files of the primary as Clone does, and leaves to the server that follows what was logged meanwhile:
// the primary keeps it from before on.
func (Engine) Copy(ctx context.Context, primary, to engine.Node, progress func(string)) error {
	if err := sameMajor(primary.Installation.FullVersion, to); err != nil {
		return err
	}
	if err := pgserver.Salvage(ctx, to); err != nil {
		return err
	}
	s := server(primary.Installation)
	err := s.TakeOver(ctx, to, func(w *datadir.Workshop, c pgserver.Recovery) error {
		if err := clone.Room(primary.DataDir, w.Dir); err != nil {
			return err
		}
		if err := reserveSlot(ctx, primary, to.Replication.Name); err != nil {
			return err
		}
		told, err := tellCopied(primary, progress)
		if err != nil {
			return err
		}
		if err := s.CopyServing(ctx, primary, w, pgserver.Copying{Gently: true, Copied: told}); err != nil {
			return err
		}
		progress("the copy is written to the disk.")
		uid, gid := w.IDs()
		return datadir.Fill(w.Data, uid, gid, c.Files)
	})
	return pgserver.BlameCopy("The copy of "+s.Product, err)
}

// tellCopied returns what tells of each further hundredth of the data that is copied.
func tellCopied(n engine.Node, progress func(string)) (copied func(int64), err error) {
	whole, err := clone.Size(n.DataDir)
	if err != nil {
		return nil, err
	}
	var done, told atomic.Int64
	return func(size int64) {
		part := min(done.Add(size)*100/max(whole, 1), 100)
		if before := told.Load(); part > before && told.CompareAndSwap(before, part) {
			progress(fmt.Sprintf("%d %% of the data is copied.", part))
		}
	}, nil
}

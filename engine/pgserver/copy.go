package pgserver

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
)

// Copy copies the files of the primary as Clone does, and leaves to the server that follows what was logged meanwhile:
// the primary keeps it from before on.
func (s Server) Copy(ctx context.Context, primary, to engine.Node, progress func(string)) error {
	if err := s.Fits(primary.Installation.FullVersion, to); err != nil {
		return err
	}
	if err := Salvage(ctx, to); err != nil {
		return err
	}
	err := s.TakeOver(ctx, to, func(w *datadir.Workshop, c Recovery) error {
		if err := clone.Room(primary.DataDir, w.Dir); err != nil {
			return err
		}
		if err := s.reserveSlot(ctx, primary, to.Replication.Name); err != nil {
			return err
		}
		told, err := tellCopied(primary, progress)
		if err != nil {
			return err
		}
		if err := s.CopyServing(ctx, primary, w, Copying{Gently: true, Copied: told}); err != nil {
			return err
		}
		progress("the copy is written to the disk.")
		uid, gid := w.IDs()
		return datadir.Fill(w.Data, uid, gid, c.Files)
	})
	return BlameCopy("The copy of "+s.Product, err)
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

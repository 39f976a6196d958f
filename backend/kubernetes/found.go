package kubernetes

import (
	"context"
	"time"
)

// lookForKept finds out what the object store has of an instance whose record was lost, before anything is done there.
func (in *instance) lookForKept(ctx context.Context, r record) (pause time.Duration) {
	in.custody.work.Lock()
	defer in.custody.work.Unlock()
	err := in.findKept(ctx, r)
	in.custody.tell(archiveTrouble, err)
	if err != nil {
		in.b.Log.Warn("it cannot be looked yet what backups there are of an instance whose record was lost",
			"instance", in.id, "error", err)
		return calm
	}
	in.wake()
	return 0
}

// findKept takes up what is noted beside the backups, if these are the instance's: its key tells. The caller holds
// work.
func (in *instance) findKept(ctx context.Context, r record) error {
	n, err := in.b.discover(ctx, in.id)
	if absentIsFine(err) != nil {
		return err
	}
	if isIts := !keeps(r) || n.Key == "" || n.Key == fingerprint(keyOf(r.Spec)); err != nil || !isIts {
		n = note{}
	}
	_, err = in.amend(ctx, func(r record) record {
		if r.Keeping.Lost {
			r.Keeping = r.Keeping.found(n.Keeping)
		}
		return r
	})
	if err != nil {
		return err
	}
	in.custody.mu.Lock()
	defer in.custody.mu.Unlock()
	in.custody.listed = false // it was of the line in use alone
	return nil
}

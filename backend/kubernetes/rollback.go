package kubernetes

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// kept is a line of the archive to whose end an instance can return: its data before an upgrade, or before the return
// from one.
type kept struct {
	Line    string    `json:"line"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
}

// keepFor is how long an instance can return to it, if its backups are kept that long.
const keepFor = 7 * 24 * time.Hour

// wantsBack tells whether a Spec asks for the data before an upgrade, and it is kept.
func (r record) wantsBack(s backend.Spec) bool {
	return s.RollBack && r.Reached != nil && r.Kept != nil && r.Kept.Version == s.Version && s.Version != r.Reached.Version
}

// canReturn tells whether there would be a way back from an upgrade, if there is to be one: a log alone has no
// beginning.
func (in *instance) canReturn(r record) bool {
	list, _, _ := in.custody.look()
	return !keeps(r) || len(inLine(list, r.Keeping.current().Name)) > 0
}

// decideBack notes that the instance is to begin from the end of the line that is kept. All that was written since is
// archived first, and kept in its turn.
func (in *instance) decideBack(ctx context.Context, r record) error {
	if err := in.b.bringUp(ctx, backend.Origin{Instance: in.id, Return: r.Restores}, true); err != nil {
		return err
	}
	if err := in.relist(ctx, r); err != nil {
		return err
	}
	list, _, _ := in.custody.look()
	found := origin{Generation: r.Spec.Generation, Restores: r.Restores, Of: in.id, Line: r.Kept.Line,
		Version: r.Kept.Version, Kept: r.Kept}
	for _, s := range list {
		if s.Line == r.Kept.Line {
			found.Backup = s.ID
		}
	}
	if found.Backup == "" {
		return backstay.Errorf(backstay.Unsupported, "There is no data of version %s any more to return to.",
			r.Kept.Version)
	}
	now := in.b.Now()
	_, err := in.amend(ctx, func(r record) record {
		r.Kept = &kept{Line: r.Keeping.current().Name, Version: r.Reached.Version, Since: now.UTC()}
		r.Bring = &found
		return r.withOwnLine(now)
	})
	return err
}

// forgetKept forgets what an instance can return to no longer.
func (in *instance) forgetKept(ctx context.Context, r record, now time.Time) error {
	if r.Kept == nil || now.Sub(r.Kept.Since) < keepFor {
		return nil
	}
	_, err := in.amend(ctx, func(r record) record {
		r.Kept = nil
		return r
	})
	return err
}

package kubernetes

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
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
	if _, err := in.b.bringUp(ctx, backend.Origin{Instance: in.id, Return: r.Restores}, true); err != nil {
		return err
	}
	if err := in.relist(ctx, r); err != nil {
		return err
	}
	list, _, _ := in.custody.look()
	found, err := r.endOf(*r.Kept, list)
	if err != nil {
		return err
	}
	found.Kept = r.Kept
	now := in.b.Now()
	_, err = in.amend(ctx, func(r record) record {
		back := r.before()
		r = r.replaced(found)
		r.Kept = nil
		if back != nil {
			r.Kept = &kept{Line: back.Line, Version: back.Version, Since: now.UTC()}
		}
		return r.withOwnLine(now)
	})
	return err
}

// decideBefore notes that the instance is to begin from the end of what it had before other data was brought, which was
// given up. All of that was archived before it was removed. Without a backup, which the archive has to begin from, the
// latest data is taken that there is one of. Users who were dropped since are dropped again.
func (in *instance) decideBefore(ctx context.Context, r record) error {
	if err := in.relist(ctx, r); err != nil {
		return err
	}
	list, _, _ := in.custody.look()
	if r.Bring.Before == nil || len(inLine(list, r.Bring.Before.Line)) == 0 {
		in.b.Log.Warn("an instance has no backup of what it had last, and goes on with what it has one of", "instance", in.id)
		return in.decide(ctx, r, &backend.Origin{Instance: in.id, Key: keyOf(r.Spec), Return: r.Restores - 1}, true)
	}
	found, err := r.endOf(*r.Bring.Before, list)
	if err != nil {
		return err
	}
	found.Own = true
	_, err = in.amend(ctx, func(r record) record {
		r = r.replaced(found)
		r.Drops = union(r.Drops, r.Bring.Dropped)
		return r.withOwnLine(in.b.Now())
	})
	return err
}

// endOf is all that a line of the instance's own history leads to.
func (r record) endOf(k kept, list []stored) (origin, error) {
	its := backup.Whole(inLine(list, k.Line))
	if len(its) == 0 {
		return origin{}, backstay.Errorf(backstay.Unsupported, "There is no data of version %s any more to return to.",
			k.Version)
	}
	end := origin{Generation: r.Spec.Generation, Restores: r.Restores, Of: r.Spec.Instance, Line: k.Line,
		Backup: its[len(its)-1].ID}
	if r.Reached == nil || k.Version != r.Reached.Version {
		end.Version = k.Version
	}
	return end, nil
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

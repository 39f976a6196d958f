package kubernetes

import (
	"cmp"
	"context"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/window"
)

var _ backend.Archive = (*Backend)(nil)

// checkBackup refuses a policy that cannot be followed.
func (c *Config) checkBackup(s backend.Spec) error {
	p := s.Backup
	switch {
	case p == nil && s.Backups == 0:
		return nil
	case c.Repository == nil:
		return backstay.Errorf(backstay.Unsupported, "Service instances on Kubernetes are not backed up: Backstay was not "+
			"told of an object store for that.")
	case p == nil:
		return nil
	}
	if _, err := window.ParseDaily(p.Window); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The backup window %q is none.", p.Window)
	}
	if p.Days < 1 || p.Final < 0 || p.Key == "" {
		return backstay.Errorf(backstay.Invalid, "Backups are kept for a day or more, and encrypted with a key.")
	}
	return nil
}

func noBackups(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.NotFound, "No backups are kept of the instance %s.", id)
}

// Backups also tells of an instance that was removed, by what lies beside its backups.
func (b *Backend) Backups(ctx context.Context, id backstay.InstanceID) (backend.Backups, error) {
	in, r, err := b.find(ctx, id)
	if err == nil {
		if !keeps(r) {
			return backend.Backups{}, noBackups(id)
		}
		if err := in.catchUp(ctx, r); err != nil {
			return backend.Backups{}, err
		}
		return in.backupsOf(r), nil
	}
	if backstay.KindOf(err) != backstay.NotFound {
		return backend.Backups{}, err
	}
	return b.leftOf(ctx, id)
}

func (b *Backend) AllBackups(ctx context.Context) ([]backend.Backups, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	all := []backend.Backups{}
	for _, in := range b.known() {
		if r, known := in.known(); known && keeps(r) {
			if err := in.catchUp(ctx, r); err != nil {
				return nil, err
			}
			all = append(all, in.backupsOf(r))
		}
	}
	left, err := b.allLeft(ctx)
	for _, kept := range left {
		if !slices.ContainsFunc(all, func(k backend.Backups) bool { return k.Instance == kept.Instance }) {
			all = append(all, kept)
		}
	}
	slices.SortFunc(all, func(x, y backend.Backups) int { return cmp.Compare(x.Instance, y.Instance) })
	return all, err
}

// Discard has what is owed before the end not be owed any more.
func (b *Backend) Discard(ctx context.Context, id backstay.InstanceID) error {
	in, _, err := b.find(ctx, id)
	if err != nil {
		return err
	}
	r, err := in.amend(ctx, func(r record) record {
		r.Removing, r.Discarded = true, true
		return r
	})
	if err != nil {
		return err
	}
	in.tell(in.situation(r).status())
	in.wake()
	return nil
}

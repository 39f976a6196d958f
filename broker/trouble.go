package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay"
)

// Troubles tells what is wrong with instances that serve nevertheless: what their backends see, and what keeps their
// backups from being made.
func (b *Broker) Troubles(ctx context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	found := map[backstay.InstanceID][]backstay.Trouble{}
	var failures []error
	for name, its := range b.Backends {
		unwell, err := its.Unwell(ctx)
		failures = append(failures, aboutBackend(name, err))
		for _, s := range unwell {
			found[s.Instance] = append(found[s.Instance], s.Troubles...)
		}
		failures = append(failures, aboutBackend(name, b.addBackupTroubles(ctx, name, found)))
	}
	return found, errors.Join(failures...)
}

// addBackupTroubles adds the troubles with backups to those found. What is kept of an instance that was removed has no
// users any more who could be told.
func (b *Broker) addBackupTroubles(
	ctx context.Context, backend string, found map[backstay.InstanceID][]backstay.Trouble,
) error {
	keeps := b.archiveOf(backend)
	if keeps == nil {
		return nil
	}
	all, err := keeps.AllBackups(ctx)
	for _, kept := range all {
		if kept.Removed.IsZero() {
			found[kept.Instance] = append(found[kept.Instance], kept.Troubles...)
		}
	}
	return err
}

func aboutBackend(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ask backend %s: %w", name, err)
}

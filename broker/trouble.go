package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay"
)

// Troubles tells what is wrong with the backups of instances. What is kept of one that was removed has no users any
// more who could be told.
func (b *Broker) Troubles(ctx context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	found := map[backstay.InstanceID][]backstay.Trouble{}
	var failures []error
	for name := range b.Backends {
		keeps := b.archiveOf(name)
		if keeps == nil {
			continue
		}
		all, err := keeps.AllBackups(ctx)
		if err != nil {
			failures = append(failures, fmt.Errorf("ask backend %s: %w", name, err))
		}
		for _, kept := range all {
			if len(kept.Troubles) > 0 && kept.Removed.IsZero() {
				found[kept.Instance] = kept.Troubles
			}
		}
	}
	return found, errors.Join(failures...)
}

package local

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/wire"
)

// proofLimit is how long the restore of a large database may take that proves a backup.
const proofLimit = 24 * time.Hour

func (b *Backend) Backups(ctx context.Context, id backstay.InstanceID) (kept backend.Backups, err error) {
	return kept, b.call(ctx, "GET", wire.InstanceBackupsPath(id), nil, &kept)
}

func (b *Backend) AllBackups(ctx context.Context) (all []backend.Backups, err error) {
	return all, b.call(ctx, "GET", wire.BackupsPath, nil, &all)
}

func (b *Backend) Prove(ctx context.Context, id backstay.InstanceID) (p backend.Proof, err error) {
	return p, b.callWithin(ctx, proofLimit, "POST", wire.ProofPath(id), nil, &p)
}

func (b *Backend) Discard(ctx context.Context, id backstay.InstanceID) error {
	return b.call(ctx, "DELETE", wire.DiscardPath(id), nil, nil)
}

func (b *Backend) Learn(ctx context.Context, left backend.Legacy) error {
	return b.call(ctx, "PUT", wire.InstanceBackupsPath(left.Instance), left, nil)
}

func (b *Backend) Forget(ctx context.Context, id backstay.InstanceID) error {
	return b.call(ctx, "DELETE", wire.InstanceBackupsPath(id), nil, nil)
}

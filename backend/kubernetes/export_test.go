package kubernetes

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Sweep removes what removed instances have left that is kept no longer.
func (b *Backend) Sweep(ctx context.Context) error { return b.sweepLeft(ctx) }

// Into is the one node of an instance, with the way into it.
func (b *Backend) Into(ctx context.Context, id backstay.InstanceID, pod string) (engine.Node, error) {
	in, r, err := b.find(ctx, id)
	if err != nil {
		return engine.Node{}, err
	}
	w, err := b.wishFor(r, r.standing())
	return in.intoPod(r, w, pod), err
}

// Brought is the generation whose data is there, of those that ask for other data and were not reached yet; 0: none.
func (b *Backend) Brought(ctx context.Context, id backstay.InstanceID) (int64, error) {
	_, r, err := b.find(ctx, id)
	if err != nil || !r.supplants() || !r.Bring.Done {
		return 0, err
	}
	return r.Bring.Generation, nil
}

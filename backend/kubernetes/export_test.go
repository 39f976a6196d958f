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

// LeadReads has a port of the machines lead to pods of an instance, by their names and addresses.
func (b *Backend) LeadReads(ctx context.Context, id backstay.InstanceID, port int, to map[string]string) error {
	_, rec, err := b.find(ctx, id)
	if err != nil {
		return err
	}
	w, err := b.wishFor(rec, rec.standing())
	if err != nil {
		return err
	}
	r := reading{port: port}
	for pod, address := range to {
		r.to = append(r.to, reached{pod, address})
	}
	if err := b.apply(ctx, w.readers(r), false); err != nil {
		return err
	}
	return b.apply(ctx, w.slice(r), false)
}

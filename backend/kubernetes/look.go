package kubernetes

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Look is the status of an instance as it is now. Beside the Backend that reconciles, nobody has looked yet: then the
// cluster and the server are asked.
func (b *Backend) Look(ctx context.Context, id backstay.InstanceID) (backend.Status, error) {
	in, _, err := b.find(ctx, id)
	if err != nil || !b.beside {
		return b.Await(ctx, id, 0)
	}
	in.reread(ctx)
	r, _ := in.known()
	s := in.situation(r)
	s.described = b.described(r)
	if s.view, err = b.viewNow(ctx, id); err != nil {
		return backend.Status{}, err
	}
	if s.wish, err = b.wishFor(r, r.standing()); err != nil {
		return backend.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerLimit)
	defer cancel()
	n, way := in.into(r, s.wish)
	s.seen.observation, s.seen.err = way.engine.Observe(ctx, n)
	if s.seen.err == nil && s.seen.observation.Protected {
		s.protected = b.Now().UTC()
	}
	return s.status(), nil
}

// viewNow is what the cluster has of an instance, where nobody watches that.
func (b *Backend) viewNow(ctx context.Context, id backstay.InstanceID) (view, error) {
	name := nameOf(id)
	cluster, err := b.get(ctx, clusters, name)
	if err != nil {
		return view{}, err
	}
	made, err := b.list(ctx, pods, clusterLabel+"="+name)
	if err != nil {
		return view{}, err
	}
	its, err := b.list(ctx, claims, clusterLabel+"="+name)
	return look(cluster, pointers(made), pointers(its)), err
}

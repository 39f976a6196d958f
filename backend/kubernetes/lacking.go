package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// lacking is an image that the cluster could not get for nodes of an instance that had another one before. The operator
// has ended the node by then, and would wait for ever, also where the image of before is asked for again.
type lacking struct {
	Generation int64  `json:"generation"` // that asks for it, and is given up
	Why        string `json:"why"`
}

// givenUp tells whether what is wanted is given up for its image.
func (r record) givenUp() bool {
	return r.Lacks != nil && r.Lacks.Generation == r.Spec.Generation && r.Reached != nil
}

// watchImage gives up an image that does not come, where the instance has had another one. Nodes that wait for one that
// is wanted no longer are removed, so that the operator makes them anew.
func (in *instance) watchImage(ctx context.Context, s situation) (saved bool, err error) {
	r, wanted := s.record, s.wish.image.Name
	i := slices.IndexFunc(s.view.Nodes, func(p pod) bool { return p.Lacking })
	switch {
	case r.shut(): // see watchRaise
		return false, nil
	case i < 0:
		in.hindered = time.Time{}
		return false, nil
	}
	p := s.view.Nodes[i]
	switch {
	case p.Image != wanted && s.view.Image == wanted:
		return false, in.b.remove(ctx, pods, p.Name)
	case p.Image != wanted || r.Reached == nil || r.Image == "" || r.Image == wanted:
		return false, nil
	case in.hindered.IsZero():
		in.hindered = in.b.Now()
		return false, nil
	case in.b.Now().Sub(in.hindered) < hinderedLimit:
		return false, nil
	}
	why := fmt.Sprintf("Kubernetes cannot get the image %s. The service instance goes on as %s %s.", p.Image, product,
		r.Build)
	in.b.Log.Warn("an image does not come", "instance", in.id, "image", p.Image)
	return in.change(ctx, r, func(r record) record { // unless another one is wanted meanwhile, which may come
		r.Lacks = &lacking{Generation: r.Spec.Generation, Why: why}
		return r
	})
}

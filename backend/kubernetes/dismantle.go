package kubernetes

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay/backend"
)

// dismantle ends what an instance consists of, step by step: the Cluster first, with which the operator's objects and
// the data go, then ours, and the record when nothing else is left. Each step may have been done before.
func (in *instance) dismantle(ctx context.Context, r record) time.Duration {
	in.drill.End()
	s := in.situation(r)
	s.view = in.b.view(in.id)
	st := s.status()
	st.Message = in.parting(r, st.Message)
	in.tell(st)
	if done, err := in.part(ctx, r); !done {
		return in.owesLast(r, err)
	}
	left, err := in.b.takeDown(ctx, r)
	if err == nil && left == 0 {
		err = in.forget(ctx)
	}
	switch {
	case err != nil:
		in.b.Log.Warn("an instance cannot be removed yet", "instance", in.id, "error", err)
		return remote
	case left > 0:
		return tight
	}
	return 0
}

// takeDown removes what there is but the record, and tells how much of it is still there.
func (b *Backend) takeDown(ctx context.Context, r record) (left int, err error) {
	if left, err = b.emptyCluster(ctx, nameOf(r.Spec.Instance)); err != nil || left > 0 {
		return left, err
	}
	if left, err = b.takeProof(ctx, r.Spec.Instance); err != nil || left > 0 {
		return left, err
	}
	resources := []schema.GroupVersionResource{services, secrets, policies}
	if len(r.Keeping.Lines) > 0 { // else there may be no right to
		resources = append(resources, backups)
	}
	for _, resource := range resources {
		ours, err := b.list(ctx, resource, instanceLabel+"="+string(r.Spec.Instance))
		if err != nil {
			return 0, err
		}
		for _, o := range ours {
			if err := b.remove(ctx, resource, o.GetName()); err != nil {
				return 0, err
			}
		}
		left += len(ours)
	}
	return left, nil
}

// forget removes the record: the instance is gone.
func (in *instance) forget(ctx context.Context) error {
	in.write.Lock()
	defer in.write.Unlock()
	if err := in.b.remove(ctx, secrets, recordName(in.id)); err != nil {
		return err
	}
	in.b.drop(in)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.gone, in.held = true, nil
	in.status = backend.Status{}
	close(in.changed)
	in.changed = make(chan struct{})
	return nil
}

package kubernetes

import (
	"context"
	"errors"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
)

// Read takes up what the cluster holds now, for a command that works beside the Backend that reconciles: Run is not
// called then. Such a Backend looks, tries backups and gives them up, and admits. What instances are to become is not
// for it to accept.
func (b *Backend) Read(ctx context.Context) error {
	b.ctx, b.beside = ctx, true
	held, err := b.list(ctx, secrets, recordLabel)
	if err == nil {
		err = b.readOwed(ctx)
	}
	if err != nil {
		return err
	}
	for i := range held {
		r, err := readRecord(&held[i])
		if err != nil {
			b.Log.Error("a record of an instance cannot be read", "error", err)
			continue
		}
		in := b.instance(r.Spec.Instance)
		in.mu.Lock()
		in.held, in.record = &held[i], r
		in.mu.Unlock()
		in.tell(in.situation(r).status())
	}
	close(b.loaded)
	return nil
}

// errBeside is of what only the Backend does that reconciles.
var errBeside = backstay.Errorf(backstay.Unavailable, "This is for the Backstay to accept that serves.")

// catchUp lists what the object store has, of an instance that nobody attends to here. Where that fails, nothing is
// known of its backups.
func (in *instance) catchUp(ctx context.Context, r record) error {
	if !in.b.beside || in.b.Repository == nil {
		return nil
	}
	return in.relist(ctx, r)
}

// follow takes up a record that somebody beside us has changed, as a command does that gives up a last backup.
func (in *instance) follow(ctx context.Context) {
	there := named(in.b.views[secrets].of(nameOf(in.id)), recordName(in.id))
	in.mu.Lock()
	later := in.held != nil && isLater(there, in.held)
	in.mu.Unlock()
	if later {
		in.write.Lock()
		defer in.write.Unlock()
		in.reread(ctx)
	}
}

// isLater tells whether an object is a later edition of another one. Kubernetes counts them.
func isLater(o, than *unstructured.Unstructured) bool {
	if o == nil {
		return false
	}
	a, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	b, other := strconv.ParseUint(than.GetResourceVersion(), 10, 64)
	return err == nil && other == nil && a > b
}

// again is for a change that somebody else's has just overtaken: the record has been read anew then.
func again(change func() error) (err error) {
	for range 5 {
		if err = change(); !errors.Is(err, errOvertaken) {
			return err
		}
	}
	return err
}

package kubernetes

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/drill"
)

// instance is one instance and its reconciler.
type instance struct {
	b     *Backend
	id    backstay.InstanceID
	awake chan struct{}
	poked chan struct{} // wakes the custodian of the backups
	users sync.Mutex
	kept  keptValues

	custody custody
	proving sync.Mutex // held by who tries a backup
	write   sync.Mutex // held by whoever changes the record

	mu      sync.Mutex // guards what follows
	held    *unstructured.Unstructured
	record  record
	gone    bool
	status  backend.Status
	changed chan struct{} // closed when the status is another one

	// Of the reconciler alone:
	configured string    // what Configure has been called for
	tended     string    // see engine.Tender
	protected  time.Time // since when it is, as far as was seen
	silent     time.Time // since when it does not answer
	last       string    // why there is no last backup yet, of an instance that is being removed
	fights     map[string]*fight
	mute       time.Time // since when no server has come up, of an instance that is to return to an earlier moment
	hindered   time.Time // since when a job of an upgrade does not start, or a node has no image
	drill      *drill.Course

	refreshing atomic.Bool
	readers    readers
}

func newInstance(b *Backend, id backstay.InstanceID) *instance {
	return &instance{b: b, id: id, awake: make(chan struct{}, 1), poked: make(chan struct{}, 1),
		changed: make(chan struct{}), readers: newReaders()}
}

func (in *instance) wake() {
	select {
	case in.awake <- struct{}{}:
	default:
	}
}

// known tells what is wanted, of an instance that is known: it has a record.
func (in *instance) known() (r record, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.record, in.held != nil && !in.gone
}

// look tells the status, and what is closed when there is another one.
func (in *instance) look() (st backend.Status, gone bool, changed chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.status, in.gone || in.held == nil, in.changed
}

// tell has another status be known, unless it says the same, or is that of a record which is another one meanwhile.
func (in *instance) tell(st backend.Status) {
	in.mu.Lock()
	defer in.mu.Unlock()
	st = st.After(in.status, in.b.Now())
	if in.gone || in.held == nil || in.status.Revision > 0 && in.status.Same(st) ||
		st.Wanted != in.record.Spec.Generation || in.record.Removing != (st.Phase == backend.Removing) {
		return
	}
	st.Revision = in.b.revision()
	in.status = st
	close(in.changed)
	in.changed = make(chan struct{})
}

// save makes a record durable. The caller holds write. A record of which the cluster has another edition than ours was
// changed by somebody else: who does so reads it anew.
func (in *instance) save(ctx context.Context, r record) error {
	o, err := r.object(in.b.Namespace)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	in.mu.Lock()
	held := in.held
	in.mu.Unlock()
	var saved *unstructured.Unstructured
	if held != nil {
		o.SetResourceVersion(held.GetResourceVersion())
		saved, err = in.b.in(secrets).Update(ctx, o, metav1.UpdateOptions{FieldManager: manager})
		if apierrors.IsNotFound(err) && in.b.beside { // the instance has just come to its end
			return unknown(in.id)
		}
		if apierrors.IsNotFound(err) { // somebody has deleted it: we know it still
			held = nil
			o.SetResourceVersion("")
		}
	}
	if held == nil {
		saved, err = in.b.in(secrets).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		in.reread(ctx)
		return errOvertaken
	}
	if err != nil {
		return classified(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held, in.record = saved, r
	return nil
}

// errOvertaken is of a record that somebody else has changed: it has been read anew.
var errOvertaken = backstay.Errorf(backstay.Busy, "Somebody else has just changed the service instance.")

// reread takes up the record that the cluster has, such as one that arrived there when its sender was dead already.
func (in *instance) reread(ctx context.Context) {
	o, err := in.b.get(ctx, secrets, recordName(in.id))
	if err != nil || o == nil {
		return
	}
	r, err := readRecord(o)
	if err != nil {
		in.b.Log.Error("a record of an instance cannot be read", "error", err)
		return
	}
	if _, known := in.known(); !known {
		in.adopt(o, r)
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held, in.record = o, r
}

// change saves what the record becomes. It is that of a moment ago which was looked at; change does nothing where
// another Spec is wanted meanwhile, or none any more.
func (in *instance) change(ctx context.Context, seen record, become func(record) record) (ok bool, err error) {
	in.write.Lock()
	defer in.write.Unlock()
	r, known := in.known()
	if !known || r.Removing || r.Spec.Generation != seen.Spec.Generation {
		return false, nil
	}
	return true, in.save(ctx, become(r))
}

// without is the record when these users have been dropped.
func (r record) without(dropped []string) record {
	r.Drops = slices.DeleteFunc(slices.Clone(r.Drops), func(name string) bool { return slices.Contains(dropped, name) })
	if r.supplants() && !r.Bring.Own { // in the data before they are still, and that may come back
		now := *r.Bring
		now.Dropped = union(now.Dropped, dropped)
		r.Bring = &now
	}
	return r
}

package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
)

// Backend is the instances of one namespace of a Kubernetes cluster. It is safe for concurrent use. Until Run has read
// what the cluster holds, calls wait for a while.
type Backend struct {
	Config
	views map[schema.GroupVersionResource]watched

	ctx    context.Context // of Run
	loaded chan struct{}   // closed when what the cluster holds is known
	epoch  int64           // how often Run was called, in this cluster
	count  atomic.Int64    // of changes since
	all    sync.WaitGroup
	beside bool // see Read

	ports     sync.Mutex   // held by whoever gives an instance a port
	given     int          // which of their range comes first when one is looked for, counted from zero
	avoided   map[int]bool // that others in the cluster have, as was seen
	mu        sync.Mutex
	instances map[backstay.InstanceID]*instance
	left      legacies
}

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Gauge   = (*Backend)(nil)
)

// LogValue is the Config's.
func (b *Backend) LogValue() slog.Value { return b.Config.LogValue() }

// New returns a Backend that does nothing before Run.
func New(c Config) *Backend {
	c.OperatorNamespace = cmp.Or(c.OperatorNamespace, "cnpg-system")
	if c.Now == nil {
		c.Now = time.Now
	}
	b := &Backend{Config: c, ctx: context.Background(), loaded: make(chan struct{}),
		avoided: map[int]bool{}, instances: map[backstay.InstanceID]*instance{}}
	b.left.all, b.left.known = map[backstay.InstanceID]left{}, make(chan struct{})
	b.left.owed, b.left.awake = map[backstay.InstanceID]note{}, make(chan struct{}, 1)
	b.views = map[schema.GroupVersionResource]watched{
		clusters: b.watch(clusters, managedBy+"="+manager), secrets: b.watch(secrets, managedBy+"="+manager),
		services: b.watch(services, instanceLabel), policies: b.watch(policies, instanceLabel),
		pods: b.watch(pods, clusterLabel), claims: b.watch(claims, clusterLabel),
	}
	return b
}

// Run reconciles until ctx ends. What it was about to do then, the next one does.
func (b *Backend) Run(ctx context.Context) error {
	b.ctx = ctx
	for _, w := range b.views {
		b.all.Go(func() { w.informer.RunWithContext(ctx) })
	}
	defer b.all.Wait()
	err := wait.Until(ctx, wait.Growing(50*time.Millisecond, 5*time.Second), func() (again bool, err error) {
		err = b.load(ctx)
		if err != nil && ctx.Err() == nil {
			b.Log.Warn("the Kubernetes cluster does not tell which instances it holds", "error", err)
		}
		return err != nil, err
	})
	if err != nil {
		return nil // ctx has ended
	}
	close(b.loaded)
	if b.Repository != nil {
		b.all.Go(func() { b.keepLeft(ctx) })
	}
	<-ctx.Done()
	return nil
}

// load reads the records, and begins with a revision that is greater than all before.
func (b *Backend) load(ctx context.Context) error {
	held, err := b.list(ctx, secrets, recordLabel)
	if err != nil {
		return err
	}
	if err := b.readOwed(ctx); err != nil {
		return err
	}
	if err := b.begin(ctx); err != nil {
		return err
	}
	for i := range held {
		r, err := readRecord(&held[i])
		if err != nil { // it stays as it is, for somebody to look at
			b.Log.Error("a record of an instance cannot be read", "error", err)
			continue
		}
		in := b.instance(r.Spec.Instance)
		in.adopt(&held[i], r)
	}
	return nil
}

// adopt has a record that the cluster holds be reconciled.
func (in *instance) adopt(o *unstructured.Unstructured, r record) {
	in.mu.Lock()
	in.held, in.record = o, r
	in.mu.Unlock()
	in.start(r)
}

// start begins to reconcile an instance whose record was just made, or read.
func (in *instance) start(r record) {
	first := in.situation(r)
	first.seen.err = backstay.Errorf(backstay.Unavailable, "The service instance is being looked at.")
	st := first.status()
	if r.Reached != nil && !r.Removing { // what is not seen yet is not told to have failed
		st.Phase = backend.Starting
	}
	in.tell(st)
	in.b.all.Go(func() { in.run(in.b.ctx) })
	in.b.all.Go(func() { in.attend(in.b.ctx) })
	if r.Reads.Given {
		in.leadReads()
	}
}

// begin counts another run in the cluster.
func (b *Backend) begin(ctx context.Context) error {
	const name = "backstay-runs"
	o, err := b.get(ctx, configMaps, name)
	if err != nil {
		return err
	}
	fresh := o == nil
	if fresh {
		o = newObject("v1", "ConfigMap", b.Namespace, name, "")
		o.SetLabels(map[string]string{managedBy: manager})
	}
	runs, err := strconv.ParseInt(cmp.Or(text(o, "data", "count"), "0"), 10, 32)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	o.Object["data"] = map[string]any{"count": strconv.FormatInt(runs+1, 10)}
	if fresh {
		_, err = b.in(configMaps).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	} else {
		_, err = b.in(configMaps).Update(ctx, o, metav1.UpdateOptions{FieldManager: manager})
	}
	b.epoch = runs + 1
	return classified(err)
}

func (b *Backend) revision() int64 { return b.epoch<<32 | b.count.Add(1) }

// instance returns the one of that id, which need not have a record.
func (b *Backend) instance(id backstay.InstanceID) *instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.instances[id]
	if in == nil {
		in = newInstance(b, id)
		b.instances[id] = in
	}
	return in
}

// drop forgets an instance that is gone.
func (b *Backend) drop(in *instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.instances[in.id] == in {
		delete(b.instances, in.id)
	}
}

// wake has the instance look again whose Cluster is called so.
func (b *Backend) wake(name string) {
	const prefix = len("bs-")
	if len(name) <= prefix {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if in := b.instances[backstay.InstanceID(name[prefix:])]; in != nil {
		in.wake()
		in.readers.wake()
	}
}

// find returns an instance that has a record, or NotFound.
func (b *Backend) find(ctx context.Context, id backstay.InstanceID) (*instance, record, error) {
	if err := b.ready(ctx); err != nil {
		return nil, record{}, err
	}
	b.mu.Lock()
	in := b.instances[id]
	b.mu.Unlock()
	if in != nil {
		if r, known := in.known(); known {
			return in, r, nil
		}
	}
	return nil, record{}, unknown(id)
}

func unknown(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.NotFound, "There is no service instance %q on Kubernetes.", id)
}

// patience is how long a call waits for a cluster that does not answer.
const patience = 10 * time.Second

// ready returns when it is known what the cluster holds.
func (b *Backend) ready(ctx context.Context) error {
	select {
	case <-b.loaded:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.loaded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return backstay.Errorf(backstay.Unavailable, "The Kubernetes cluster does not answer.")
	}
}

// synced is nil once all that is watched has been read: before, what is not seen may be there.
func (b *Backend) synced() error {
	for resource, w := range b.views {
		if !w.informer.HasSynced() {
			return backstay.Errorf(backstay.Unavailable, "The %s of the Kubernetes cluster cannot be read yet.",
				resource.Resource)
		}
	}
	return nil
}

// view is what is shown of an instance.
func (b *Backend) view(id backstay.InstanceID) view {
	name := nameOf(id)
	return look(named(b.views[clusters].of(name), name), b.views[pods].of(name), b.views[claims].of(name))
}

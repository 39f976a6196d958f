package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// Inventory asks the cluster, also before Run. It fails where the operator is missing, or is another one than this
// package was tried with: that is to be mended, and no reason to take plans off sale.
func (b *Backend) Inventory(ctx context.Context) (backend.Inventory, error) {
	i := backend.Inventory{Engines: []backend.EngineVersion{}}
	if err := b.operated(ctx); err != nil {
		return i, err
	}
	for _, image := range b.Images {
		its := image.installation()
		v := backend.EngineVersion{
			Engine: image.Engine, Product: its.Product, Version: its.Version, FullVersion: its.FullVersion, Nodes: mostNodes,
			RestorePoints: b.restorePoints(image),
		}
		if t, ok := b.Engines[image.Engine].(engine.Tunable); ok {
			v.Settings = t.Tuning(its).Schema()
		}
		_, v.Drills = b.Engines[image.Engine].(engine.Drillable)
		i.Engines = append(i.Engines, v)
	}
	_, i.Room.Memory = b.machines(ctx)
	return i, nil
}

// operated refuses where CloudNativePG is missing, or another one than this package was tried with. Whoever may not
// read what version it has gets no refusal: the cluster may be another's.
func (b *Backend) operated(ctx context.Context) error {
	if _, err := b.list(ctx, clusters, recordLabel); err != nil {
		return err
	}
	tag, _, err := b.operator(ctx)
	if err == nil && !strings.HasPrefix(tag, Operator+".") {
		return backstay.Errorf(backstay.Unavailable, "The Kubernetes cluster has CloudNativePG %s. It takes %s.",
			tag, Operator)
	}
	return nil
}

// operator is the version of CloudNativePG, as its image has it, and whether any of it runs.
func (b *Backend) operator(ctx context.Context) (tag string, runs bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	o, err := b.Client.Resource(deployments).Namespace(b.OperatorNamespace).Get(ctx, "cnpg-controller-manager",
		metav1.GetOptions{})
	if err != nil {
		return "", false, err
	}
	for _, c := range mapsOf(o, "spec", "template", "spec", "containers") {
		if image := fmt.Sprint(c["image"]); c["name"] == "manager" {
			tag = image[strings.LastIndexByte(image, ':')+1:]
		}
	}
	available, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
	return tag, available > 0, nil
}

// machines tells how many machines of the cluster take instances, and how much memory the largest of them has for all
// that runs there. Both are 0 where that may not be read.
func (b *Backend) machines(ctx context.Context) (count int, largest backstay.Bytes) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	all, err := b.Client.Resource(nodes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, 0
	}
	for _, o := range all.Items {
		if isClosed(&o) {
			continue
		}
		count++
		if q, err := resource.ParseQuantity(text(&o, "status", "allocatable", "memory")); err == nil {
			largest = max(largest, backstay.Bytes(q.Value()))
		}
	}
	return count, largest
}

// isClosed tells whether a machine takes no instances: it is being emptied, is lost, or is for the cluster itself.
func isClosed(node *unstructured.Unstructured) bool {
	closed, _, _ := unstructured.NestedBool(node.Object, "spec", "unschedulable")
	return closed || slices.ContainsFunc(mapsOf(node, "spec", "taints"), func(taint map[string]any) bool {
		return taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute"
	})
}

// grows tells whether volumes of the storage class can become larger.
func (b *Backend) grows(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	all, err := b.Client.Resource(classes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false
	}
	i := slices.IndexFunc(all.Items, func(o unstructured.Unstructured) bool { return b.isClass(&o) })
	if i < 0 {
		return false
	}
	allowed, _, _ := unstructured.NestedBool(all.Items[i].Object, "allowVolumeExpansion")
	return allowed
}

// isClass tells whether a storage class is the one that instances have: the default one where none is named.
func (c *Config) isClass(o *unstructured.Unstructured) bool {
	if c.StorageClass != "" {
		return o.GetName() == c.StorageClass
	}
	return o.GetAnnotations()["storageclass.kubernetes.io/is-default-class"] == "true"
}

// acceptable refuses what Apply refuses.
func (b *Backend) acceptable(ctx context.Context, in *instance, r record, s backend.Spec) error {
	if err := b.refusal(s); err != nil {
		return err
	}
	if err := b.checkOrigin(ctx, r, s); err != nil {
		return err
	}
	grows := r.Reached != nil && s.Size.Storage > r.Reached.Size.Storage && b.grows(ctx)
	if err := b.changeable(r, s, grows); err != nil || r.Reached == nil || restoresOf(s) > r.Restores ||
		r.wantsBack(s) {
		return err // of data that is about to come, the server that runs says nothing
	}
	w, err := b.wishFor(r.next(s), s)
	if err != nil { // Admit refuses it; here it is an obstacle, which may go
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	n, way := in.into(r, w)
	return way.engine.CheckRunning(ctx, n)
}

// Admit also has the cluster try the Cluster, without making it.
func (b *Backend) Admit(ctx context.Context, s backend.Spec) error {
	in, r, err := b.find(ctx, s.Instance)
	if err != nil && backstay.KindOf(err) != backstay.NotFound {
		return err
	}
	fresh := err != nil
	if err := b.acceptable(ctx, in, r, s); err != nil {
		return err
	}
	if err := b.operated(ctx); err != nil {
		return err
	}
	w, err := b.wishFor(r.next(s), s)
	if err != nil {
		return err
	}
	count, most := b.machines(ctx)
	if most > 0 && w.memory > most {
		return backstay.Errorf(backstay.Unsupported,
			"No machine of the Kubernetes cluster has the memory for it: it takes %s, and the largest has %s.",
			w.memory, most.Rounded())
	}
	if r.Spread && count > 0 && s.AllNodes() > max(count, r.Spec.AllNodes()) {
		return backstay.Errorf(backstay.Unsupported, "Each node of the service instance keeps to a machine of its own, and "+
			"the Kubernetes cluster has %d of them that take any: there cannot be %d nodes.", count, s.AllNodes())
	}
	if fresh && b.Exposure.byNode() && !s.Private {
		b.ports.Lock()
		_, err := b.freePort()
		b.ports.Unlock()
		if err != nil {
			return err
		}
	}
	if r.wantsBack(s) { // it is made anew, and the cluster would compare it with the one that is there
		return nil
	}
	return b.apply(ctx, w.cluster(), true)
}

// Names are those that clients may use, besides the one that credentials name. The last ones are for ends of tunnels.
func (b *Backend) Names(ctx context.Context, s backend.Spec) ([]string, error) {
	_, r, err := b.find(ctx, s.Instance)
	if err != nil && backstay.KindOf(err) != backstay.NotFound {
		return nil, err
	}
	if err := cmp.Or(b.refusal(s), b.built(r, s)); err != nil {
		return nil, err
	}
	inside := b.service(s.Instance)
	names := []string{inside, inside + ".cluster.local", nameOf(s.Instance) + "-rw", "localhost", "127.0.0.1"}
	if err != nil {
		r = b.exposed(record{Spec: s})
	}
	if outside := cmp.Or(r.Host, b.Exposure.Host); outside != "" {
		names = append([]string{outside}, names...)
	}
	return append(names, b.readNames(r, s)...), nil
}

func (b *Backend) Apply(ctx context.Context, s backend.Spec) error {
	if b.beside {
		return errBeside
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	if err := b.refusal(s); err != nil {
		return err
	}
	if !s.Private && (s.TLS.Leaf == "" || s.TLS.Authority == "") {
		return backstay.Errorf(backstay.Unsupported,
			"Service instances on Kubernetes need a certificate, with the authority that has issued it.")
	}
	var err error
	for range 5 {
		var gone bool
		if gone, err = b.instance(s.Instance).accept(ctx, s); !gone && !errors.Is(err, errOvertaken) {
			break
		}
	}
	return err
}

// accept makes a Spec the wanted one. It does not where the instance has just gone: another one has its id then.
func (in *instance) accept(ctx context.Context, s backend.Spec) (gone bool, err error) {
	in.write.Lock()
	defer in.write.Unlock()
	in.mu.Lock()
	gone = in.gone
	in.mu.Unlock()
	if gone {
		return true, errOvertaken
	}
	r, known := in.known()
	switch {
	case known && r.Removing:
		return false, backstay.Errorf(backstay.Busy, "The service instance is being deleted.")
	case known && s.Generation < r.Spec.Generation:
		return false, backstay.Errorf(backstay.Busy, "Generation %d of the service instance is wanted already.",
			r.Spec.Generation)
	case known && s.Generation == r.Spec.Generation:
		return false, nil
	}
	if err := in.b.acceptable(ctx, in, r, s); err != nil {
		return false, err
	}
	next := r.next(s)
	if !known {
		in.b.ports.Lock()
		defer in.b.ports.Unlock()
		count, _ := in.b.machines(ctx)
		next = in.b.exposed(record{Spec: s, Served: s.Served != nil, Spread: count >= s.AllNodes()})
		if next.Port, err = in.b.portFor(s); err != nil {
			return false, err
		}
		next.Reads = in.b.readsAgain(next)
		if next, err = in.b.around(ctx, next); err != nil {
			return false, err
		}
	}
	if err := in.save(ctx, next); err != nil {
		return false, err
	}
	if !known {
		in.start(next)
		return false, nil
	}
	st, _, _ := in.look()
	st.Wanted, st.Obstacle = s.Generation, backend.Obstacle{}
	if st.Phase == backend.Failing {
		st.Phase, st.Message = backend.Starting, "The service instance is looked at with what is wanted now."
	}
	in.tell(st)
	in.wake()
	in.poke()
	return false, nil
}

// exposed gives an instance the name of a load balancer, where it is to have one.
func (b *Backend) exposed(r record) record {
	if b.Exposure.Domain != "" && !r.Spec.Private {
		r.Host = nameOf(r.Spec.Instance) + "." + b.Exposure.Domain
	}
	return r
}

// portFor gives an instance a port of the machines, where it is to have one: the one that it had, or a free one.
func (b *Backend) portFor(s backend.Spec) (int, error) {
	switch {
	case !b.Exposure.byNode() || s.Private:
		return 0, nil
	case s.Served != nil && s.Served.Endpoint.Port > 0:
		return s.Served.Endpoint.Port, nil
	}
	return b.nextPort()
}

// nextPort is a free port, for somebody who holds ports until that is in its record. Each port has its turn: one whose
// instance was removed just before refused connections to the next one for moments, in tests.
func (b *Backend) nextPort() (int, error) {
	n, err := b.freePort()
	if err == nil {
		b.given = n - b.Exposure.First + 1
	}
	return n, err
}

// freePort is a port that no instance has: the one whose turn it is. The caller holds ports.
func (b *Backend) freePort() (int, error) {
	taken := b.takenPorts()
	first, count := b.Exposure.First, b.Exposure.Last-b.Exposure.First+1
	for i := range count {
		if n := first + (b.given+i)%count; !taken[n] {
			return n, nil
		}
	}
	return 0, backstay.Errorf(backstay.Unavailable,
		"All ports of the Kubernetes cluster that are for service instances are in use, from %d to %d.",
		b.Exposure.First, b.Exposure.Last)
}

// takenPorts are those that an instance has, and those that something else was seen to have. The caller holds ports.
func (b *Backend) takenPorts() map[int]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := maps.Clone(b.avoided)
	for _, in := range b.instances {
		if r, known := in.known(); known {
			taken[r.Port], taken[r.Reads.Port] = true, true
		}
	}
	return taken
}

func (b *Backend) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	in, _, err := b.find(ctx, id)
	if err != nil {
		return backend.Status{}, err
	}
	for {
		st, gone, changed := in.look()
		switch {
		case gone:
			return backend.Status{}, unknown(id)
		case st.Revision > revision:
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return backend.Status{}, ctx.Err()
		case <-b.ctx.Done():
			return backend.Status{}, backstay.Errorf(backstay.Unavailable, "Backstay is about to end.")
		}
	}
}

func (b *Backend) Unwell(ctx context.Context) (all []backend.Status, err error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	for _, in := range b.known() {
		if st, gone, _ := in.look(); !gone && st.Unwell(b.Now()) {
			all = append(all, st)
		}
	}
	slices.SortFunc(all, func(x, y backend.Status) int { return cmp.Compare(x.Instance, y.Instance) })
	return all, nil
}

func (b *Backend) known() []*instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.instances))
}

func (b *Backend) Held(ctx context.Context) (map[backstay.InstanceID]int64, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	held := map[backstay.InstanceID]int64{}
	for _, in := range b.known() {
		if r, known := in.known(); known {
			held[in.id] = r.Spec.Generation
		}
	}
	return held, nil
}

func (b *Backend) Remove(ctx context.Context, id backstay.InstanceID) error {
	if b.beside {
		return errBeside
	}
	in, _, err := b.find(ctx, id)
	if err != nil {
		return err
	}
	in.write.Lock()
	defer in.write.Unlock()
	r, known := in.known()
	if !known {
		return unknown(id)
	}
	if r.Removing {
		return nil
	}
	r.Removing = true
	if err := in.save(ctx, r); err != nil {
		return err
	}
	in.tell(in.situation(r).status())
	in.wake()
	return nil
}

// handOver asks the operator to make another node the primary.
func (b *Backend) handOver(ctx context.Context, id backstay.InstanceID, heir string, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	patch := fmt.Sprintf(`{"status": {"targetPrimary": %q, "targetPrimaryTimestamp": %q, "phase": %q}}`,
		heir, now.UTC().Format("2006-01-02T15:04:05.000000Z"), "Switchover in progress")
	_, err := b.in(clusters).Patch(ctx, nameOf(id), types.MergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: manager}, "status")
	return classified(err)
}

package kubernetes

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// fakeCluster keeps objects, and can be asked for them. Nothing runs in it.
type fakeCluster struct {
	dynamic.Interface
	refuse func(verb, resource string) error

	mu      sync.Mutex
	version int
	held    map[string]*unstructured.Unstructured // by resource and name
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{held: map[string]*unstructured.Unstructured{}, refuse: func(string, string) error { return nil }}
}

// backend is a Backend of the cluster that knows what that holds: nothing.
func (c *fakeCluster) backend(t *testing.T) *Backend {
	b := New(Config{
		Namespace: "services", Client: c, Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	close(b.loaded)
	return b
}

// holding is the instance of a record, which the cluster holds.
func (c *fakeCluster) holding(t *testing.T, b *Backend, r record) *instance {
	t.Helper()
	o, err := r.object(b.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	in := b.instance(r.Spec.Instance)
	in.held, in.record = c.put(secrets, o), r
	return in
}

func (c *fakeCluster) put(resource schema.GroupVersionResource, o *unstructured.Unstructured) *unstructured.Unstructured {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	o = o.DeepCopy()
	o.SetResourceVersion(strconv.Itoa(c.version))
	c.held[resource.Resource+" "+o.GetName()] = o
	return o
}

func (c *fakeCluster) Resource(r schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return fakeResource{cluster: c, of: r}
}

type fakeResource struct {
	dynamic.NamespaceableResourceInterface
	cluster *fakeCluster
	of      schema.GroupVersionResource
}

func (r fakeResource) Namespace(string) dynamic.ResourceInterface { return r }

// find is what is held of that name, unless the cluster refuses to be asked.
func (r fakeResource) find(verb, name string) (*unstructured.Unstructured, error) {
	if err := r.cluster.refuse(verb, r.of.Resource); err != nil {
		return nil, err
	}
	r.cluster.mu.Lock()
	defer r.cluster.mu.Unlock()
	o := r.cluster.held[r.of.Resource+" "+name]
	if o == nil {
		return nil, apierrors.NewNotFound(r.of.GroupResource(), name)
	}
	return o.DeepCopy(), nil
}

func (r fakeResource) Get(
	_ context.Context, name string, _ metav1.GetOptions, _ ...string,
) (*unstructured.Unstructured, error) {
	return r.find("get", name)
}

func (r fakeResource) List(_ context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	chosen, err := labels.Parse(o.LabelSelector)
	if err != nil {
		return nil, err
	}
	r.cluster.mu.Lock()
	defer r.cluster.mu.Unlock()
	all := &unstructured.UnstructuredList{}
	for key, o := range r.cluster.held {
		if key == r.of.Resource+" "+o.GetName() && chosen.Matches(labels.Set(o.GetLabels())) {
			all.Items = append(all.Items, *o.DeepCopy())
		}
	}
	return all, nil
}

func (r fakeResource) Update(
	_ context.Context, o *unstructured.Unstructured, _ metav1.UpdateOptions, _ ...string,
) (*unstructured.Unstructured, error) {
	if _, err := r.find("update", o.GetName()); err != nil {
		return nil, err
	}
	return r.cluster.put(r.of, o), nil
}

// Patch is of what is looked at by refuse alone.
func (r fakeResource) Patch(
	_ context.Context, name string, _ types.PatchType, _ []byte, _ metav1.PatchOptions, _ ...string,
) (*unstructured.Unstructured, error) {
	return r.find("patch", name)
}

package kubernetes

import (
	"cmp"
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/backstay/backstay"
)

// watched is what the cluster shows of one resource, kept up to date by a watch. Whoever reads it may read what was
// true a moment ago: nothing may be decided by it that this could spoil.
type watched struct {
	informer cache.SharedIndexInformer
}

// byInstance is the index by the name of the Cluster that an object belongs to.
const byInstance = "instance"

// watch follows the objects of a resource with those labels, and wakes the instance whose they are.
func (b *Backend) watch(resource schema.GroupVersionResource, selector string) watched {
	client := b.in(resource)
	lists := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return client.Watch(ctx, o)
		},
	}
	informer := cache.NewSharedIndexInformer(lists, &unstructured.Unstructured{}, 0,
		cache.Indexers{byInstance: func(o any) ([]string, error) { return []string{owner(o)}, nil }})
	informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { b.wake(owner(o)) }, DeleteFunc: func(o any) { b.wake(owner(o)) },
		UpdateFunc: func(_, o any) { b.wake(owner(o)) },
	})
	return watched{informer}
}

// owner is the name of the Cluster that an object belongs to, as its labels say.
func owner(o any) string {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return ""
	}
	if name := u.GetLabels()[clusterLabel]; name != "" {
		return name
	}
	id := cmp.Or(u.GetLabels()[instanceLabel], u.GetLabels()[recordLabel])
	return nameOf(backstay.InstanceID(id))
}

// of is what is shown of an instance.
func (w watched) of(name string) (all []*unstructured.Unstructured) {
	found, err := w.informer.GetIndexer().ByIndex(byInstance, name)
	if err != nil {
		return nil
	}
	for _, o := range found {
		if u, ok := o.(*unstructured.Unstructured); ok {
			all = append(all, u)
		}
	}
	return all
}

// named is the one of these names, or nil.
func named(all []*unstructured.Unstructured, name string) *unstructured.Unstructured {
	for _, o := range all {
		if o.GetName() == name {
			return o
		}
	}
	return nil
}

package kubernetes_test

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// TestByHand has somebody change and delete what belongs to an instance: it is put back, but for the data.
func TestByHand(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	b, _ := run(t, l.config(t, 30190, 30193))
	t.Cleanup(func() { l.wantNothing(t) })
	spec := l.spec(t, 1)
	began := time.Now()
	l.serve(t, b, spec)
	t.Logf("it serves after %s", time.Since(began).Round(100*time.Millisecond))
	began = time.Now()
	w := write(t, l, l.table(t, b, spec))
	t.Logf("a user takes %s", time.Since(began).Round(time.Millisecond))
	name := "bs-" + string(spec.Instance)

	l.patch(t, clusters, name, `{"spec": {"postgresql": {"pg_hba": ["host all all all trust"]}}}`)
	l.awaitObject(t, clusters, name, "the rules of access", func(o *unstructured.Unstructured) bool {
		rules, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "postgresql", "pg_hba")
		return len(rules) > 1
	})
	for suffix, kind := range map[string]schema.GroupVersionResource{
		"-endpoint": services, "": policies, "-tls": secrets, "-authority": secrets, "-record": secrets,
	} {
		before := l.delete(t, kind, name+suffix)
		l.awaitObject(t, kind, name+suffix, kind.Resource+" that was deleted", func(o *unstructured.Unstructured) bool {
			return o.GetUID() != before.GetUID()
		})
	}
	l.patch(t, policies, name, `{"spec": {"ingress": []}}`)
	l.awaitObject(t, policies, name, "the policy", func(o *unstructured.Unstructured) bool {
		rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "ingress")
		return len(rules) == 2
	})
	until(t, b, spec.Instance, "the instance with all that belongs to it", serves)
	w.wantAll(t)

	// Of an instance that somebody has put to sleep the operator says that it is healthy.
	l.patch(t, clusters, name, `{"metadata": {"annotations": {"cnpg.io/hibernation": "on"}}}`)
	await(t, "the end of its pod", func(ctx context.Context) (bool, error) {
		all, err := l.client.Resource(pods).Namespace(l.namespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(all.Items) == 0, err
	})
	until(t, b, spec.Instance, "the failure of an instance that sleeps", func(st backend.Status) bool {
		return st.Phase == backend.Failing
	})
	l.patch(t, clusters, name, `{"metadata": {"annotations": {"cnpg.io/hibernation": "off"}}}`)
	until(t, b, spec.Instance, "the instance after its sleep", serves)
	w.wantAll(t)
	l.loseData(t, b, spec)
}

// loseData deletes the Cluster: an empty database never takes the place of one that served.
func (l lab) loseData(t *testing.T, b backend.Backend, spec backend.Spec) {
	t.Helper()
	name := "bs-" + string(spec.Instance)
	l.patch(t, clusters, name, `{"spec": {"postgresql": {"pg_hba": ["host all all all trust"]}}}`) // it is about to be applied
	l.delete(t, clusters, name)
	st := until(t, b, spec.Instance, "the failure of an instance without data", func(st backend.Status) bool {
		return st.Phase == backend.Failing && st.Obstacle.Sentence != "" && st.Message == st.Obstacle.Sentence
	})
	if st.Generation != spec.Generation || st.Obstacle.Final {
		t.Errorf("without its data it is %+v", st)
	}
	spec.Generation, spec.Size.Connections = spec.Generation+1, 30
	mustApply(t, b, spec)
	until(t, b, spec.Instance, "the failure of a newer generation", func(st backend.Status) bool {
		return st.Obstacle.Generation == spec.Generation && st.Obstacle.Final
	})
	all, err := l.client.Resource(clusters).Namespace(l.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) > 0 {
		t.Errorf("an empty database has taken the place of one that served: %v", err)
	}
}

func (l lab) patch(t testing.TB, kind schema.GroupVersionResource, name, patch string, subresources ...string) {
	t.Helper()
	_, err := l.client.Resource(kind).Namespace(l.namespace).Patch(t.Context(), name, types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{}, subresources...)
	if err != nil {
		t.Fatal(err)
	}
}

// delete returns the object as it was.
func (l lab) delete(t *testing.T, kind schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	in := l.client.Resource(kind).Namespace(l.namespace)
	o, err := in.Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		err = in.Delete(t.Context(), name, metav1.DeleteOptions{})
	}
	if err != nil {
		t.Fatalf("%s %s: %v", kind.Resource, name, err)
	}
	return o
}

// awaitObject waits until an object is there that is as wanted.
func (l lab) awaitObject(
	t testing.TB, kind schema.GroupVersionResource, name, what string, wanted func(*unstructured.Unstructured) bool,
) {
	t.Helper()
	await(t, what, func(ctx context.Context) (bool, error) {
		o, err := l.client.Resource(kind).Namespace(l.namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && wanted(o), err
	})
}

// await waits until something is there.
func await(t testing.TB, what string, there func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(100*time.Millisecond), func() (again bool, err error) {
		ok, err := there(ctx)
		return err == nil && !ok, err
	})
	if err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

package kubernetes_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/wait"
)

// TestByHand has somebody change and delete what belongs to an instance: it is put back, but for the data.
func TestByHand(t *testing.T) {
	l := newLab(t)
	b, _ := run(t, l.config(t, 30190, 30193))
	t.Cleanup(func() { l.wantNothing(t) })
	spec := backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: "postgres", Version: "15",
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20},
		TLS:  enginetest.Certificate(t, l.host),
	}
	began := time.Now()
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removed(t, b, spec.Instance) })
	serves := func(st backend.Status) bool { return st.Phase == backend.Running }
	until(t, b, spec.Instance, "the instance", serves)
	t.Logf("it serves after %s", time.Since(began).Round(100*time.Millisecond))
	began = time.Now()
	if _, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u1", Password: "p1"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("a user takes %s", time.Since(began).Round(time.Millisecond))
	name := "bs-" + string(spec.Instance)
	clusters := l.client.Resource(schema.GroupVersionResource{
		Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}).Namespace(l.namespace)
	services := l.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"}).Namespace(l.namespace)

	patch := []byte(`{"spec": {"postgresql": {"pg_hba": ["host all all all trust"]}}}`)
	if _, err := clusters.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the rules of access", func(ctx context.Context) (bool, error) {
		o, err := clusters.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		rules, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "postgresql", "pg_hba")
		return len(rules) > 1, nil
	})
	if err := services.Delete(t.Context(), name+"-endpoint", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the service", func(ctx context.Context) (bool, error) {
		_, err := services.Get(ctx, name+"-endpoint", metav1.GetOptions{})
		return err == nil, nil
	})
	until(t, b, spec.Instance, "the instance behind another service", serves)

	if err := clusters.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	st := until(t, b, spec.Instance, "the failure of an instance without data", func(st backend.Status) bool {
		return st.Phase == backend.Failing && st.Obstacle.Sentence != ""
	})
	if st.Generation != 1 || st.Obstacle.Final {
		t.Errorf("without its data it is %+v", st)
	}
	spec.Generation, spec.Size.Connections = 2, 30
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Error(err)
	}
	until(t, b, spec.Instance, "the failure of a newer generation", func(st backend.Status) bool {
		return st.Obstacle.Generation == 2
	})
	if all, err := clusters.List(t.Context(), metav1.ListOptions{}); err != nil || len(all.Items) > 0 {
		t.Errorf("an empty database has taken the place of one that served: %v", err)
	}
}

// await waits until something is there.
func await(t *testing.T, what string, there func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(100*time.Millisecond), func() (again bool, err error) {
		ok, err := there(ctx)
		return err == nil && !ok, err
	})
	if err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

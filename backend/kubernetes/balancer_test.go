package kubernetes_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
)

const (
	balanced = "databases.test" // the domain of load balancers
	balancer = "10.96.255.200"  // the address of the only one that there is
)

// TestLoadBalancer plays who gives services their load balancers: it says which address a service has, and the cluster's
// machines pass on what comes there. Nothing is said to serve before it is reached so, by the name that credentials have.
func TestLoadBalancer(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	c := l.config(t, 0, 0)
	c.Exposure = kubernetes.Exposure{Domain: balanced, Annotations: map[string]string{"backstay.test/scope": "internal"}}
	b, stop := run(t, c)
	spec := l.spec(t, 1)
	names, err := b.Names(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.TLS = enginetest.Certificate(t, names...)
	mustApply(t, b, spec)
	name := "bs-" + string(spec.Instance)
	l.awaitObject(t, clusters, name, "the database", func(o *unstructured.Unstructured) bool {
		ready, _, _ := unstructured.NestedInt64(o.Object, "status", "readyInstances")
		return ready == 1
	})
	if st, err := b.Await(t.Context(), spec.Instance, 0); err != nil || serves(st) {
		t.Fatalf("without a load balancer it is %+v, %v", st, err)
	}
	l.awaitObject(t, services, name+"-endpoint", "its service", func(o *unstructured.Unstructured) bool {
		told := o.GetAnnotations()
		return told["backstay.test/scope"] == "internal" &&
			told["external-dns.alpha.kubernetes.io/hostname"] == name+"."+balanced
	})
	l.patch(t, services, name+"-endpoint", `{"status": {"loadBalancer": {"ingress": [{"ip": "`+balancer+`"}]}}}`, "status")
	st := until(t, b, spec.Instance, "the instance", guarded(1, 1))
	if st.Endpoint.Host != name+"."+balanced || st.Endpoint.Port != 5432 {
		t.Errorf("credentials name %+v", st.Endpoint)
	}
	conn, err := l.open(t.Context(), l.table(t, b, spec)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())

	// Whoever runs Backstay changes how new instances are reached: this one keeps its address, which apps have.
	stop()
	b, _ = run(t, l.config(t, 30238, 30239))
	t.Cleanup(func() { l.wantNothing(t) })
	t.Cleanup(func() { removed(t, b, spec.Instance) })
	spec.Generation, spec.Served = 2, &backend.Served{Endpoint: st.Endpoint}
	mustApply(t, b, spec)
	again := until(t, b, spec.Instance, "the instance", guarded(2, 1))
	if again.Endpoint != st.Endpoint {
		t.Errorf("%+v has become %+v", st.Endpoint, again.Endpoint)
	}
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("its session has ended: %v", err)
	}
}

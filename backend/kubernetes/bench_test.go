package kubernetes_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
)

// byHand is what somebody applies who has the operator alone.
const byHand = `
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: %s}
spec:
  instances: %d
  imageName: %s
  imagePullPolicy: IfNotPresent
  storage: {size: 1Gi, storageClass: local-path}
  resources: {requests: {cpu: 50m, memory: 512Mi}, limits: {memory: 512Mi}}
%s`

// inStep has commits of a Cluster by hand wait as ours do.
const inStep = "  postgresql: {synchronous: {method: any, number: 1}}\n"

// hand is a Cluster that was made by hand.
type hand struct {
	lab
	name, uri string
}

// byHand returns once a query has been answered.
func (l lab) byHand(b *testing.B, nodes int) hand {
	b.Helper()
	h := hand{lab: l, name: "by-hand-" + uuid.NewString()[:8]}
	more := ""
	if nodes > 1 {
		more = inStep
	}
	l.cluster.Apply(b, l.namespace, fmt.Sprintf(byHand, h.name, nodes, images[0].Name, more))
	b.Cleanup(func() { l.cluster.Kubectl(b, "delete", "cluster", h.name, "-n", l.namespace) })
	l.awaitObject(b, secrets, h.name+"-app", "the password", func(o *unstructured.Unstructured) bool {
		encoded, _, _ := unstructured.NestedString(o.Object, "data", "password")
		password, err := base64.StdEncoding.DecodeString(encoded)
		h.uri = fmt.Sprintf("postgres://app:%s@%s-rw.%s.svc:5432/app", url.QueryEscape(string(password)), h.name, l.namespace)
		return err == nil
	})
	l.answered(b, h.uri)
	if nodes > 1 {
		h.healthy(b, nodes)
	}
	return h
}

// healthy waits until the operator says so of that many nodes.
func (h hand) healthy(b *testing.B, nodes int) (primary string) {
	b.Helper()
	h.awaitObject(b, clusters, h.name, "all nodes", func(o *unstructured.Unstructured) bool {
		ready, _, _ := unstructured.NestedInt64(o.Object, "status", "readyInstances")
		now, _, _ := unstructured.NestedString(o.Object, "status", "currentPrimary")
		next, _, _ := unstructured.NestedString(o.Object, "status", "targetPrimary")
		primary = now
		return int(ready) == nodes && now == next
	})
	return primary
}

// answered returns once a new session is given an answer.
func (l lab) answered(b *testing.B, uri string) {
	b.Helper()
	await(b, "an answer", func(ctx context.Context) (bool, error) {
		within, done := context.WithTimeout(ctx, 5*time.Second)
		defer done()
		conn, err := l.open(within, uri+"?sslmode=require&connect_timeout=2")
		if err != nil {
			return false, nil
		}
		defer conn.Close(within)
		return conn.Ping(within) == nil, nil
	})
}

// bench is a backend that nothing else uses, with a log that does not stand between the measurements.
func (l lab) bench(b *testing.B, first int) *kubernetes.Backend {
	its, _ := run(b, l.config(b, first, first+9))
	return its
}

func took(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// report prints the middle of what was measured beside that of the baseline.
func report(b *testing.B, is, baseline []time.Duration) {
	slices.Sort(is)
	slices.Sort(baseline)
	ours, theirs := is[len(is)/2], baseline[len(baseline)/2]
	b.ReportMetric(0, "ns/op") // says nothing here
	b.ReportMetric(ours.Seconds(), "s")
	b.ReportMetric(theirs.Seconds(), "baseline-s")
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
}

// BenchmarkCreate is from what is wanted to a binding's first query, beside that of whoever applies a Cluster with
// kubectl and logs in as the user that the operator makes.
func BenchmarkCreate(b *testing.B) {
	l := newLab(b)
	its := l.bench(b, 30300)
	var ours, theirs []time.Duration
	for range max(b.N, 3) {
		theirs = append(theirs, took(func() { l.byHand(b, 1) }))
		spec := l.spec(b, 1)
		ours = append(ours, took(func() {
			l.serve(b, its, spec)
			l.answered(b, l.mustUser(b, its, spec.Instance, "first"))
		}))
	}
	report(b, ours, theirs)
}

func (l lab) mustUser(b *testing.B, its backend.Backend, id backstay.InstanceID, name string) (uri string) {
	b.Helper()
	c, err := its.CreateUser(b.Context(), id, backend.User{Name: name, Password: "password"})
	if err != nil {
		b.Fatal(err)
	}
	return c["uri"].(string)
}

// BenchmarkBind is a user and its first query, beside those of a role that the administrator makes with psql in the
// primary's pod.
func BenchmarkBind(b *testing.B) {
	l := newLab(b)
	its, spec, h := l.bench(b, 30310), l.spec(b, 1), l.byHand(b, 1)
	l.serve(b, its, spec)
	l.mustUser(b, its, spec.Instance, "warm")
	at, _ := url.Parse(h.uri)
	var ours, theirs []time.Duration
	for i := range max(b.N, 7) {
		name := fmt.Sprintf("user%d", i)
		theirs = append(theirs, took(func() {
			l.cluster.Kubectl(b, "exec", h.healthy(b, 1), "-n", l.namespace, "-c", "postgres", "--",
				"psql", "-qc", "CREATE ROLE "+name+" LOGIN PASSWORD 'password' IN ROLE app")
			at.User = url.UserPassword(name, "password")
			l.answered(b, at.String())
		}))
		ours = append(ours, took(func() { l.answered(b, l.mustUser(b, its, spec.Instance, name)) }))
	}
	report(b, ours, theirs)
}

// BenchmarkFailover is the longest time in which a writer's commits are not acknowledged, when another node is asked to
// be the primary and when the primary's pod is deleted, beside that of a Cluster by hand, whose target is patched as the
// operator's own tool does it.
func BenchmarkFailover(b *testing.B) {
	l := newLab(b)
	its, spec, h := l.bench(b, 30320), l.spec(b, 2), l.byHand(b, 2)
	st := l.serve(b, its, spec)
	conn, err := l.open(b.Context(), h.uri+"?sslmode=require")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	mustExec(b, conn, "CREATE TABLE acknowledged (n bigint PRIMARY KEY)")
	mine, other := write(b, l, l.table(b, its, spec)), write(b, l, h.uri)
	served := func() backend.Status {
		return until(b, its, spec.Instance, "all nodes", guarded(spec.Generation, 2))
	}
	lose := func(pod string) {
		l.cluster.Kubectl(b, "delete", "pod", pod, "-n", l.namespace, "--grace-period=0", "--force")
	}
	b.Run("asked", func(b *testing.B) {
		var ours, theirs []time.Duration
		for range max(b.N, 3) {
			theirs = append(theirs, gap(b, other, func() {
				was := h.healthy(b, 2)
				next := h.name + map[bool]string{true: "-2", false: "-1"}[strings.HasSuffix(was, "-1")]
				l.patch(b, clusters, h.name, `{"status": {"targetPrimary": "`+next+`"}}`, "status")
				h.changed(b, was)
			}))
			ours = append(ours, gap(b, mine, func() {
				spec.Generation, spec.Failovers = spec.Generation+1, spec.Failovers+1
				mustApply(b, its, spec)
				st = served()
			}))
		}
		report(b, ours, theirs)
	})
	b.Run("lost", func(b *testing.B) {
		var ours, theirs []time.Duration
		for range max(b.N, 3) {
			theirs = append(theirs, gap(b, other, func() {
				lose(h.healthy(b, 2))
				h.healthy(b, 2)
			}))
			ours = append(ours, gap(b, mine, func() {
				lose(primaryOf(st))
				st = served()
			}))
		}
		report(b, ours, theirs)
	})
}

// changed waits until another node is the primary, and the one before follows.
func (h hand) changed(b *testing.B, was string) {
	b.Helper()
	await(b, "another primary", func(context.Context) (bool, error) { return h.healthy(b, 2) != was, nil })
}

// gap is the longest that a writer has waited while something was done, and until it has written again.
func gap(b *testing.B, w *writer, do func()) time.Duration {
	b.Helper()
	w.lap()
	do()
	written := w.count()
	await(b, "writes", func(context.Context) (bool, error) { return w.count() > written, nil })
	return w.lap()
}

func mustExec(b *testing.B, conn *pgx.Conn, statement string) {
	b.Helper()
	if _, err := conn.Exec(b.Context(), statement); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRecorded is the memory that a backend takes for 100 instances. No machine takes their pods, which is none of
// its business. The baseline is a backend without any.
func BenchmarkRecorded(b *testing.B) {
	const many = 100
	l := newLab(b)
	for _, node := range l.cluster.Nodes() {
		l.cluster.Kubectl(b, "cordon", node)
		b.Cleanup(func() { l.cluster.Kubectl(b, "uncordon", node) })
	}
	c := l.config(b, 0, 0)
	c.Exposure = kubernetes.Exposure{}
	none := taken()
	its, _ := run(b, c)
	if _, err := its.Inventory(b.Context()); err != nil {
		b.Fatal(err)
	}
	bare := taken() - none
	for range many {
		spec := l.spec(b, 1)
		mustApply(b, its, spec)
		b.Cleanup(func() { removed(b, its, spec.Instance) })
	}
	await(b, "all Clusters", func(ctx context.Context) (bool, error) {
		all, err := l.client.Resource(clusters).Namespace(l.namespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(all.Items) == many, err
	})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(taken()-none)/1e6, "MB")
	b.ReportMetric(float64(bare)/1e6, "baseline-MB")
	b.ReportMetric(float64(taken()-none-bare)/many/1e3, "kB/instance")
}

// taken is the memory of this process that is in use.
func taken() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

package kubernetes

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// fieldOf is a field of an object as JSON, by a path with "/" between the names and "~" for one in them; empty: it has
// none.
func fieldOf(o *unstructured.Unstructured, path string) string {
	names := strings.Split(path, "/")
	for i := range names {
		names[i] = strings.ReplaceAll(names[i], "~", "/")
	}
	v, ok, err := unstructured.NestedFieldNoCopy(o.Object, names...)
	if err != nil || !ok {
		return ""
	}
	text, _ := json.Marshal(v)
	return string(text)
}

func aWish(nodes int) wish {
	return wish{
		namespace: "services", operator: "cnpg-system", storageClass: "fast", port: 30001,
		image:  Image{Name: "pg:15.18", FullVersion: "15.18"},
		memory: 512 * backstay.MB,
		spec: backend.Spec{
			Instance: anId, Generation: 1, Nodes: nodes, Size: backstay.Size{Storage: 2 * backstay.GB},
			TLS: backstay.Certificate{Leaf: "leaf", Key: "key", Authority: "authority"},
		},
		hosting: engine.Hosting{
			Parameters: map[string]string{"work_mem": "4MB"}, Libraries: []string{"pgextwlist"},
			Rules: []string{"hostnossl all all all reject"},
		},
	}
}

// byName are the objects of a wish, by kind and what follows the instance's name.
func (w wish) byName(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, o := range w.objects() {
		if o.GetNamespace() != "services" || o.GetLabels()[instanceLabel] != string(anId) ||
			o.GetLabels()[managedBy] != manager || kinds[o.GetKind()].Resource == "" {
			t.Errorf("%s %s has labels %v, and is in %q", o.GetKind(), o.GetName(), o.GetLabels(), o.GetNamespace())
		}
		all[o.GetKind()+strings.TrimPrefix(o.GetName(), nameOf(anId))] = o
	}
	return all
}

func TestObjects(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*wish)
		object string
		path   string // separated by slashes
		want   string // JSON; empty: it is not there
	}{
		"one node":             {func(*wish) {}, "Cluster", "spec/instances", "1"},
		"three":                {func(w *wish) { w.spec.Nodes = 3 }, "Cluster", "spec/instances", "3"},
		"nobody waits for one": {func(*wish) {}, "Cluster", "spec/postgresql/synchronous", ""},
		"commits wait for a second": {func(w *wish) { w.spec.Nodes = 2 }, "Cluster", "spec/postgresql/synchronous",
			`{"dataDurability":"required","failoverQuorum":true,"method":"any","number":1}`},
		"no budget of one":      {func(*wish) {}, "Cluster", "spec/enablePDB", "false"},
		"a budget of two":       {func(w *wish) { w.spec.Nodes = 2 }, "Cluster", "spec/enablePDB", "true"},
		"short ends":            {func(*wish) {}, "Cluster", "spec/smartShutdownTimeout", "1"},
		"quick probes":          {func(*wish) {}, "Cluster", "spec/probes/readiness/periodSeconds", "1"},
		"restarts in place":     {func(*wish) {}, "Cluster", "spec/primaryUpdateMethod", `"restart"`},
		"images that are there": {func(*wish) {}, "Cluster", "spec/imagePullPolicy", `"IfNotPresent"`},
		"storage":               {func(*wish) {}, "Cluster", "spec/storage", `{"size":"2048Mi","storageClass":"fast"}`},
		"memory of its own": {func(*wish) {}, "Cluster", "spec/resources",
			`{"limits":{"memory":"512Mi"},"requests":{"cpu":"50m","memory":"512Mi"}}`},
		"rules":         {func(*wish) {}, "Cluster", "spec/postgresql/pg_hba", `["hostnossl all all all reject"]`},
		"parameters":    {func(*wish) {}, "Cluster", "spec/postgresql/parameters", `{"work_mem":"4MB"}`},
		"beside":        {func(*wish) {}, "Cluster", "spec/affinity/podAntiAffinityType", `"preferred"`},
		"apart":         {func(w *wish) { w.spread = true }, "Cluster", "spec/affinity/podAntiAffinityType", `"required"`},
		"no restart":    {func(*wish) {}, "Cluster", "metadata/annotations", ""},
		"a restart":     {func(w *wish) { w.restarts = 4 }, "Cluster", "metadata/annotations/" + "kubectl.kubernetes.io~restartedAt", `"4"`},
		"certificates":  {func(*wish) {}, "Cluster", "spec/certificates/serverTLSSecret", `"` + nameOf(anId) + `-tls"`},
		"its key":       {func(*wish) {}, "Secret-tls", "data/tls.key", `"a2V5"`},
		"reloaded":      {func(*wish) {}, "Secret-tls", "metadata/labels/cnpg.io~reload", `"true"`},
		"authority":     {func(*wish) {}, "Secret-authority", "data/ca.crt", `"YXV0aG9yaXR5"`},
		"port":          {func(*wish) {}, "Service-endpoint", "spec/type", `"NodePort"`},
		"inside only":   {func(w *wish) { w.port = 0 }, "Service-endpoint", "spec", ""},
		"load balancer": {func(w *wish) { w.port, w.host = 0, "db.example.org" }, "Service-endpoint", "spec/type", `"LoadBalancer"`},
		"its name": {func(w *wish) { w.port, w.host = 0, "db.example.org" }, "Service-endpoint",
			"metadata/annotations/external-dns.alpha.kubernetes.io~hostname", `"db.example.org"`},
		"what it is told": {func(w *wish) { w.host, w.annotations = "db.example.org", map[string]string{"scope": "internal"} },
			"Service-endpoint", "metadata/annotations/scope", `"internal"`},
		"private has no load balancer": {func(w *wish) { w.host, w.spec.Private = "db.example.org", true },
			"Service-endpoint", "spec", ""},
		"private has no certificate": {func(w *wish) { w.spec.Private = true }, "Secret-tls", "data", ""},
		"private has no port":        {func(w *wish) { w.spec.Private = true }, "Service-endpoint", "spec", ""},
		"private has the operator's": {func(w *wish) { w.spec.Private = true }, "Cluster", "spec/certificates", ""},
		"policy":                     {func(*wish) {}, "NetworkPolicy", "spec/policyTypes", `["Ingress"]`},
	} {
		w := aWish(1)
		tc.change(&w)
		got := ""
		if o := w.byName(t)[tc.object]; o != nil {
			got = fieldOf(o, tc.path)
		}
		if got != tc.want {
			t.Errorf("%s: %s of %s is %s, want %s", name, tc.path, tc.object, got, tc.want)
		}
	}
}

// TestNamesAreOurs keeps our objects clear of the names that the operator gives: a Secret of ours called NAME-ca would
// keep a Cluster from ever coming up.
func TestNamesAreOurs(t *testing.T) {
	t.Parallel()
	its := []string{"-ca", "-server", "-replication", "-superuser", "-app", "-rw", "-ro", "-r"}
	for _, o := range aWish(2).objects() {
		for _, suffix := range its {
			if o.GetKind() != "Cluster" && o.GetName() == nameOf(anId)+suffix {
				t.Errorf("%s %s is called as one of the operator's", o.GetKind(), o.GetName())
			}
		}
	}
}

// TestDrifted looks at objects as the cluster has them: with more in them than was asked for.
func TestDrifted(t *testing.T) {
	t.Parallel()
	set := func(o *unstructured.Unstructured, value any, path ...string) {
		if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		change func(*unstructured.Unstructured)
		want   bool
	}{
		"as wanted": {func(*unstructured.Unstructured) {}, false},
		"with defaults and a status": {func(o *unstructured.Unstructured) {
			set(o, "on", "spec", "postgresql", "parameters", "wal_log_hints")
			set(o, "healthy", "status", "phase")
			o.SetResourceVersion("17")
		}, false},
		"another number": {func(o *unstructured.Unstructured) { set(o, int64(3), "spec", "instances") }, true},
		"another parameter": {func(o *unstructured.Unstructured) {
			set(o, "1GB", "spec", "postgresql", "parameters", "work_mem")
		}, true},
		"a rule more": {func(o *unstructured.Unstructured) {
			set(o, []any{"host all all all trust", "hostnossl all all all reject"}, "spec", "postgresql", "pg_hba")
		}, true},
		"without our label": {func(o *unstructured.Unstructured) { o.SetLabels(nil) }, true},
		"with what is wanted no longer": {func(o *unstructured.Unstructured) {
			set(o, map[string]any{"number": int64(1)}, "spec", "postgresql", "synchronous")
		}, true},
	} {
		wanted := aWish(1).cluster()
		there := wanted.DeepCopy()
		tc.change(there)
		if got := drifted(there, wanted); got != tc.want {
			t.Errorf("%s: drifted %t, want %t", name, got, tc.want)
		}
	}
	if !drifted(nil, aWish(1).cluster()) {
		t.Error("what is not there is as wanted")
	}
}

func TestRecordIsRead(t *testing.T) {
	t.Parallel()
	r := record{Spec: aWish(2).spec, Port: 30001, Drops: []string{"u1"}, Restarts: asked{Count: 2, Owed: true, Since: epoch}}
	o, err := r.object("services")
	if err != nil {
		t.Fatal(err)
	}
	got, err := readRecord(o)
	if err != nil || got.Port != r.Port || got.Spec.TLS != r.Spec.TLS || got.Restarts != r.Restarts || got.Drops[0] != "u1" {
		t.Errorf("%+v was read as %+v, %v", r, got, err)
	}
	o.SetName("bs-another-record")
	if _, err := readRecord(o); err == nil {
		t.Error("a record was read under the name of another one")
	}
}

package kubernetes_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/enginetest"
)

// grant makes in the namespace what docs/kubernetes.md tells operators to, up to so many of its blocks, and returns a
// token of the account there. The page is what is applied: a right that it does not give, Backstay does not have.
func (l lab) grant(t testing.TB, blocks int) (token string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	var given []string
	for _, part := range strings.Split(string(page), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if strings.Contains(block, "\nrules:\n") {
			given = append(given, strings.ReplaceAll(block, "backstay-services", l.namespace))
		}
	}
	if len(given) < blocks {
		t.Fatalf("the page has %d blocks that give rights, want %d", len(given), blocks)
	}
	for _, block := range given[:blocks] {
		l.cluster.Apply(t, l.namespace, block)
	}
	if blocks > 1 {
		t.Cleanup(func() { l.cluster.Kubectl(t, "delete", "clusterrolebinding,clusterrole", l.namespace) })
	}
	return strings.TrimSpace(l.cluster.Kubectl(t, "create", "token", "backstay", "-n", l.namespace, "--duration=2h"))
}

var (
	clusters = schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}
	secrets  = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	pods     = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	claims   = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	volumes  = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	policies = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
)

// wantNothing wants no trace of any instance to be left, of whatever kind the cluster has, nor a volume.
func (l lab) wantNothing(t *testing.T) {
	t.Helper()
	kinds := strings.Fields(l.cluster.Kubectl(t, "api-resources", "--namespaced", "--verbs=list", "-o", "name"))
	kinds = slices.DeleteFunc(kinds, func(kind string) bool { return strings.HasPrefix(kind, "events") }) // which end by themselves
	if len(kinds) < 20 {
		t.Errorf("the cluster has only these kinds of objects: %q", kinds)
	}
	const form = `{range .items[*]}{.kind}{" "}{.metadata.name}{" "}{.metadata.labels}{"\n"}{end}`
	all := l.cluster.Kubectl(t, "get", strings.Join(kinds, ","), "-n", l.namespace, "-o", "jsonpath="+form)
	for line := range strings.Lines(all) {
		if strings.Contains(line, " bs-") || strings.Contains(line, `"backstay/`) || strings.Contains(line, `"cnpg.io/`) {
			t.Errorf("this is left: %s", line)
		}
	}
	l.wantNoVolume(t)
}

// wantNoVolume wants no volume to be left: whatever has made it removes it a moment after its claim.
func (l lab) wantNoVolume(t *testing.T) {
	t.Helper()
	await(t, "the end of all volumes", func(ctx context.Context) (bool, error) {
		all, err := l.client.Resource(volumes).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		left := 0
		for _, o := range all.Items {
			claim, _ := o.Object["spec"].(map[string]any)["claimRef"].(map[string]any)
			if claim["namespace"] == l.namespace {
				left++
			}
		}
		return left == 0, nil
	})
}

// spec wants an instance of so many nodes.
func (l lab) spec(t testing.TB, nodes int) backend.Spec {
	t.Helper()
	return backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: "postgres", Version: "15", Nodes: nodes,
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20},
		TLS:  enginetest.Certificate(t, l.host),
	}
}

func serves(st backend.Status) bool { return st.Phase == backend.Running }

// guarded tells whether an instance serves that generation with all of its nodes.
func guarded(generation int64, nodes int) func(backend.Status) bool {
	return func(st backend.Status) bool {
		running := 0
		for _, n := range st.Nodes {
			if n.Phase == backend.Running {
				running++
			}
		}
		return serves(st) && st.Generation == generation && running == nodes && (nodes == 1 || !st.Protected.IsZero())
	}
}

// serve has an instance come up, and be removed when the test ends.
func (l lab) serve(t testing.TB, b backend.Backend, spec backend.Spec) backend.Status {
	t.Helper()
	mustApply(t, b, spec)
	t.Cleanup(func() { removed(t, b, spec.Instance) })
	return until(t, b, spec.Instance, "the instance", guarded(spec.Generation, spec.AllNodes()))
}

func mustApply(t testing.TB, b backend.Backend, spec backend.Spec) {
	t.Helper()
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatalf("Apply of generation %d: %v", spec.Generation, err)
	}
}

// table makes a user of an instance, and what a writer writes to.
func (l lab) table(t testing.TB, b backend.Backend, spec backend.Spec) (uri string) {
	t.Helper()
	c, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u1", Password: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	uri = c["uri"].(string)
	conn, err := l.open(t.Context(), uri+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE acknowledged (n bigint PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	return uri
}

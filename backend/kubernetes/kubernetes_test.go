package kubernetes_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/backendtest"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Run(m)) }

// limit is how long anything may take here: the machine may have the tests of other packages to do, and other clusters.
const limit = 5 * time.Minute

// lab is a namespace of the cluster for one test.
type lab struct {
	cluster   *kubetest.Cluster
	client    dynamic.Interface // of the administrator
	own       dynamic.Interface // of Backstay, which has the rights that docs/kubernetes.md gives it, and no more
	logs      kubernetes.PodLogs
	forwards  kubernetes.PodWay
	namespace string
	host      string // of the ports of its nodes
}

// newLab gives Backstay both of its roles: what only the first one takes is tried by TestBackend.
func newLab(t testing.TB) lab {
	t.Helper()
	return newLabOn(t, kubetest.Shared(t), 2)
}

func newLabOn(t testing.TB, cluster *kubetest.Cluster, roles int) lab {
	t.Helper()
	cfg := cluster.Config()
	cfg.QPS, cfg.Burst, cfg.WarningHandler = 200, 400, rest.NoWarnings{}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := lab{cluster: cluster, client: client, namespace: cluster.Namespace(t)}
	cfg.BearerToken, cfg.CertFile, cfg.KeyFile = l.grant(t, roles), "", ""
	if l.own, err = dynamic.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	if l.logs, err = kubernetes.LogsOf(cfg); err != nil {
		t.Fatal(err)
	}
	if l.forwards, err = kubernetes.ForwardsOf(cfg); err != nil {
		t.Fatal(err)
	}
	nodes, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).
		List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Fatalf("nodes: %v", err)
	}
	addresses, _, _ := unstructured.NestedSlice(nodes.Items[0].Object, "status", "addresses")
	for _, a := range addresses {
		if a, ok := a.(map[string]any); ok && a["type"] == "InternalIP" {
			l.host, _ = a["address"].(string)
		}
	}
	return l
}

// images are those that the test cluster has.
var images = []kubernetes.Image{
	{Engine: "postgres", Version: "15", FullVersion: "15.20", Name: "backstay.test/postgresql:15.20"},
	{Engine: "postgres", Version: "15", FullVersion: "15.18", Name: "backstay.test/postgresql:15.18"},
	{Engine: "postgres", Version: "17", FullVersion: "17.12", Name: "backstay.test/postgresql:17.12"},
}

func (l lab) config(t testing.TB, first, last int) kubernetes.Config {
	return kubernetes.Config{
		Client: l.own, Namespace: l.namespace, Engines: map[string]engine.Engine{"postgres": postgres.Engine{}},
		Images: images, StorageClass: "local-path",
		Exposure: kubernetes.Exposure{Host: l.host, First: first, Last: last},
		Dial:     l.dial, Logs: l.logs, Forwards: l.forwards, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// dial knows the names of services, which machines outside of pods do not, and those of load balancers.
func (l lab) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if name, inside := strings.CutSuffix(host, "."+l.namespace+".svc"); inside {
		services := l.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"})
		o, err := services.Namespace(l.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP")
		address = net.JoinHostPort(ip, port)
	}
	if strings.HasSuffix(host, "."+balanced) {
		address = net.JoinHostPort(balancer, port)
	}
	return l.cluster.Dial(ctx, network, address)
}

// run has a backend reconcile until stop is called, or the test ends.
func run(t testing.TB, c kubernetes.Config) (b *kubernetes.Backend, stop func()) {
	t.Helper()
	b = kubernetes.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return b, stop
}

func (l lab) subject(b backend.Backend) backendtest.Subject {
	certificate := func(t testing.TB) backstay.Certificate { return enginetest.Certificate(t, l.host) }
	return backendtest.Subject{Backend: b, Can: []string{}, Connect: l.connect, Certificate: certificate}
}

func (l lab) connect(ctx context.Context, c backstay.Credentials) (backendtest.Session, error) {
	return l.open(ctx, c["uri"].(string)+"?sslmode=require")
}

// open connects as an app does in the cluster.
func (l lab) open(ctx context.Context, uri string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = l.dial
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return pgx.ConnectConfig(ctx, cfg)
}

// TestBackend may do in its namespace what it has to, and reads nothing outside.
func TestBackend(t *testing.T) {
	t.Parallel()
	l := newLabOn(t, kubetest.Shared(t), 1)
	b, _ := run(t, l.config(t, 30100, 30139))
	backendtest.Run(t, l.subject(b))
	t.Cleanup(func() { l.wantNothing(t) })
}

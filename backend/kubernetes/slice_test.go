package kubernetes_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/backstay/backstay/backend"
)

// TestSlice has a service that selects nobody lead to the one node or the other.
func TestSlice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var err error
	if l.own, err = dynamic.NewForConfig(l.cluster.Config()); err != nil {
		t.Fatal(err)
	}
	b, _ := run(t, l.config(t, 30950, 30953))
	spec := l.spec(t, 2)
	st := l.serve(t, b, spec)
	uri := l.table(t, b, spec)
	const port = 30954
	lead := func(role backend.Role) {
		t.Helper()
		to := map[string]string{}
		for _, n := range st.Nodes {
			if n.Role != role {
				continue
			}
			pod, err := l.client.Resource(pods).Namespace(l.namespace).Get(t.Context(), n.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			to[n.Name], _, _ = unstructured.NestedString(pod.Object, "status", "podIP")
		}
		if err := b.LeadReads(t.Context(), spec.Instance, port, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range []backend.Role{backend.Standby, backend.Primary, backend.Standby} {
		began := time.Now()
		lead(role)
		await(t, "reads to go to the "+string(role), func(ctx context.Context) (bool, error) {
			follows, err := l.follows(ctx, uri, port)
			return err == nil && follows == (role == backend.Standby), nil // nobody may be reached yet
		})
		t.Logf("reads go to the %s after %v", role, time.Since(began))
	}
}

// follows tells whether the server at a port of the machines is one that follows.
func (l lab) follows(ctx context.Context, uri string, port int) (yes bool, err error) {
	cfg, err := pgx.ParseConfig(uri + "?sslmode=require")
	if err != nil {
		return false, err
	}
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return l.dial(ctx, network, net.JoinHostPort(l.host, strconv.Itoa(port)))
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.Background())
	return yes, conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&yes)
}

package kubetest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/backstay/backstay/internal/kubetest"
	"github.com/backstay/backstay/internal/wait"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Run(m)) }

// limit is how long a database may take to do what is waited for, on a busy machine.
const limit = 10 * time.Minute

const manifest = `
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: %s}
spec:
  instances: %d
  imageName: %s
  imagePullPolicy: IfNotPresent
  enableSuperuserAccess: true
  smartShutdownTimeout: 1
  stopDelay: 10
  switchoverDelay: 10
  probes: {startup: {periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 600}, readiness: {periodSeconds: 1}}
  storage: {size: 300Mi}
  affinity: {enablePodAntiAffinity: true, podAntiAffinityType: required, topologyKey: kubernetes.io/hostname}
  resources: {requests: {memory: 128Mi, cpu: 10m}, limits: {memory: 512Mi}}
  postgresql:
    parameters: {shared_buffers: 32MB}
    pg_hba: ["hostnossl all all all reject"]
`

// TestClient asks the API in this process.
func TestClient(t *testing.T) {
	t.Parallel()
	c := kubetest.Shared(t)
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != len(c.Nodes()) {
		t.Errorf("the API lists %d nodes, %v; want %d", len(list.Items), err, len(c.Nodes()))
	}
}

// TestListen has a program in the cluster's network reach a listener of this machine's.
func TestListen(t *testing.T) {
	t.Parallel()
	c := kubetest.Shared(t)
	api := c.Listen(t, "127.0.0.1:1") // where nothing listens
	connection, err := c.Dial(t.Context(), "tcp", api)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(time.Minute))
	if n, err := connection.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes where nobody answers", n)
	}
	var out bytes.Buffer
	cmd := exec.Command("ip", "-brief", "address")
	cmd.Stdout = &out
	if err := c.Enter(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "10.88.0.254") {
		t.Errorf("a program in the cluster's network sees %q, %v", out.String(), err)
	}
}

// TestOneInstance makes a database, and asks it while there is no API and after the operator has died.
func TestOneInstance(t *testing.T) {
	c := kubetest.Shared(t)
	d := newDatabase(t, c, "one", 1, c.PostgreSQL(t, "15")[0])
	d.settle(t)
	d.must(t, "create table things (id int)")
	c.KillAPI(t)
	d.must(t, "insert into things values (1)")
	c.StartAPI(t)
	c.KillOperator(t)
	d.must(t, "insert into things values (2)")
	d.count(t, 2)
}

// TestThreeInstances kills the primary, by pod and by node, and writes again.
func TestThreeInstances(t *testing.T) {
	c := kubetest.Shared(t)
	d := newDatabase(t, c, "three", 3, c.PostgreSQL(t, "15")[0])
	d.settle(t)
	d.must(t, "create table things (id int)")
	if places := d.fields(t, "pods", "{.items[*].spec.nodeName}"); len(places) != 3 {
		t.Errorf("three instances are on the nodes %q", places)
	}

	before := d.primary(t)
	c.Kubectl(t, "delete", "pod", before, "-n", d.namespace, "--grace-period=0", "--force")
	begun := time.Now()
	after := d.successor(t, before)
	d.must(t, "insert into things values (1)")
	t.Logf("A write is accepted %v after the pod of the primary was deleted.", time.Since(begun))
	d.settle(t)

	node := d.fields(t, "pod/"+after, "{.spec.nodeName}")[0]
	begun = time.Now()
	c.KillNode(t, node)
	d.successor(t, after)
	d.must(t, "insert into things values (2)")
	t.Logf("A write is accepted %v after the node of the primary was killed.", time.Since(begun))
	c.StartNode(t, node)
	d.settle(t)
	d.count(t, 2)
}

// TestByHand keeps a cluster for somebody to try things, until it is interrupted: make kubernetes-up.
func TestByHand(t *testing.T) {
	if os.Getenv("BACKSTAY_TEST_KUBERNETES_BY_HAND") == "" {
		t.Skip("make kubernetes-up runs this.")
	}
	c := kubetest.Shared(t)
	fmt.Fprintf(os.Stderr, "\nThe cluster is there until you type ^C. Its programs see its network after\n\n\t%s\n\n",
		byHand(t, c))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-ctx.Done()
}

// byHand is what to type for a shell in the cluster's network.
func byHand(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	var network string
	err := c.Enter(func() (err error) {
		network, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		if name, err := os.Readlink(file); err == nil && name == network {
			return fmt.Sprintf("nsenter --net=%s env KUBECONFIG=%s PATH=$PATH:%s bash   # kubernetes kubectl get nodes",
				file, c.Kubeconfig(), filepath.Join(os.Getenv("BACKSTAY_TEST_KUBERNETES"), "bin"))
		}
	}
	t.Fatal("no process is in the cluster's network")
	return ""
}

// database is one that the operator keeps.
type database struct {
	cluster         *kubetest.Cluster
	namespace, name string
	instances       int
	config          *pgx.ConnConfig
}

// newDatabase has the operator make one, in a namespace of its own.
func newDatabase(t *testing.T, c *kubetest.Cluster, name string, instances int, image string) *database {
	t.Helper()
	d := &database{cluster: c, namespace: c.Namespace(t), name: name, instances: instances}
	begun := time.Now()
	c.Apply(t, d.namespace, fmt.Sprintf(manifest, name, instances, image))
	d.settle(t)
	d.config = d.connection(t)
	t.Logf("%d instances of %s are ready after %v.", instances, image, time.Since(begun))
	return d
}

// settle waits until all instances are ready.
func (d *database) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(500*time.Millisecond), func() (bool, error) {
		ready := strings.Join(d.fields(t, "cluster/"+d.name, "{.status.readyInstances} {.status.phase}"), " ")
		if ready != fmt.Sprintf("%d Cluster in healthy state", d.instances) {
			return true, errors.New("the operator says " + ready)
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, d.cluster.Kubectl(t, "get", "pods,pvc,events", "-n", d.namespace, "-o", "wide"))
	}
}

func (d *database) primary(t *testing.T) string {
	t.Helper()
	return d.fields(t, "cluster/"+d.name, "{.status.currentPrimary}")[0]
}

// successor waits until another than this one is the primary.
func (d *database) successor(t *testing.T, of string) (name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(100*time.Millisecond), func() (bool, error) {
		if name = d.primary(t); name == of {
			return true, errors.New(of + " still is the primary")
		}
		return false, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// fields returns what an expression picks out of an object.
func (d *database) fields(t *testing.T, object, path string) []string {
	t.Helper()
	return strings.Fields(d.cluster.Kubectl(t, "get", object, "-n", d.namespace, "-o", "jsonpath="+path))
}

// must has a statement be executed, however often it takes to connect: it is for what may be done twice.
func (d *database) must(t *testing.T, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(100*time.Millisecond), func() (bool, error) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		connection, err := pgx.ConnectConfig(try, d.config)
		if err != nil {
			return true, err
		}
		defer connection.Close(try)
		_, err = connection.Exec(try, statement)
		return err != nil, err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// count compares the number of rows: at least so many, since a statement may have been repeated.
func (d *database) count(t *testing.T, want int) {
	t.Helper()
	connection, err := pgx.ConnectConfig(t.Context(), d.config)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	var got int
	if err := connection.QueryRow(t.Context(), "select count(distinct id) from things").Scan(&got); err != nil || got != want {
		t.Errorf("there are %d rows, %v; want %d", got, err, want)
	}
}

// connection is how to connect to the primary through the cluster's network, taking nobody else for it.
func (d *database) connection(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	secret := func(name, key string) string {
		text, err := base64.StdEncoding.DecodeString(d.fields(t, "secret/"+d.name+"-"+name, "{.data."+key+"}")[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	host := d.name + "-rw." + d.namespace
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=verify-full", host))
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM([]byte(secret("ca", `ca\.crt`)))
	config.TLSConfig = &tls.Config{RootCAs: authorities, ServerName: host}
	config.Password = secret("superuser", "password")
	config.DialFunc = d.cluster.Dial
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return config
}

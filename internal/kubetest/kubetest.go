package kubetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// madeVariable names the directory that scripts/kubernetes has made: make test-kubernetes sets it.
const madeVariable = "BACKSTAY_TEST_KUBERNETES"

// scratchVariable names a directory that is quick to write to and goes with the test: scripts/scratch sets it.
const scratchVariable = "BACKSTAY_SCRATCH"

// nodes is how many a cluster has: three instances of a database can be on nodes of their own.
const nodes = 3

// startLimit is how long a cluster may take to start, and to wait for another test's, on a busy machine.
const startLimit = 30 * time.Minute

// limit is how long anything else may take.
const limit = 5 * time.Minute

var (
	shared  *Cluster
	failure error
	once    sync.Once
	counted atomic.Int64
)

// Run runs the tests of a package, and ends the cluster that they have shared. A package that uses one has
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Run(m)) }
func Run(m *testing.M) (code int) {
	defer func() {
		if shared == nil {
			return
		}
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "end the cluster:", err)
			code = 1
		}
	}()
	return m.Run()
}

// Shared returns the cluster that all tests of this process share, with three nodes. The first who asks waits for its
// start. The test is skipped where there can be none.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	made := required(t)
	once.Do(func() { shared, failure = started(t, made) })
	if failure != nil {
		t.Fatalf("start a cluster: %v", failure)
	}
	shared.reportIfFailed(t)
	return shared
}

// Own returns a cluster that this test alone has, for what one does to a whole cluster. It ends with the test. Without
// what Shared wants the test is skipped.
func Own(t testing.TB) *Cluster {
	t.Helper()
	c, err := started(t, required(t))
	if err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
	})
	c.reportIfFailed(t)
	return c
}

// required returns the directory that scripts/kubernetes has made. The test is skipped where there is none.
func required(t testing.TB) (made string) {
	t.Helper()
	if made = os.Getenv(madeVariable); made == "" {
		t.Skipf("make test-kubernetes runs this: %s is not set.", madeVariable)
	}
	if os.Geteuid() != 0 {
		t.Skip("Only root can run the nodes of a cluster.")
	}
	return made
}

func started(t testing.TB, made string) (*Cluster, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	begun := time.Now()
	c, err := start(ctx, made, nodes)
	t.Logf("The cluster has taken %v to start.", time.Since(begun).Round(time.Millisecond))
	return c, err
}

// bounded is the context of what a test asks of the cluster, also when it cleans up.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	t.Cleanup(cancel)
	return ctx
}

// Kubectl runs the genuine one as the cluster's administrator, and returns what it says.
func (c *Cluster) Kubectl(t testing.TB, words ...string) string {
	t.Helper()
	out, err := c.kubectl(bounded(t), "", words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Apply has objects be as a manifest says, in a namespace.
func (c *Cluster) Apply(t testing.TB, namespace, manifest string) {
	t.Helper()
	_, err := c.kubectl(bounded(t), manifest, "apply", "--server-side", "--force-conflicts", "-n", namespace, "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
}

// Namespace makes a namespace for one test, and returns its name. When the test ends it begins to go, with all that is
// in it: nobody waits for that.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", counted.Add(1))
	c.Kubectl(t, "create", "namespace", name)
	t.Cleanup(func() { c.Kubectl(t, "delete", "namespace", name, "--wait=false") })
	return name
}

// PostgreSQL returns the images of a major version, the oldest first.
func (c *Cluster) PostgreSQL(t testing.TB, major string) (list []string) {
	t.Helper()
	all, err := c.Images()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.Contains(name, "/postgresql:"+major+".") {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		t.Fatalf("no image is of PostgreSQL %s: %q", major, all)
	}
	return list
}

// Listen listens on a port of the address that pods know as 10.88.0.254, and passes each connection on to an address of
// this machine, until the test ends: so an object store of the test is to be had in the cluster.
func (c *Cluster) Listen(t testing.TB, to string) (address string) {
	t.Helper()
	var listener net.Listener
	err := c.Enter(func() (err error) {
		listener, err = net.Listen("tcp", control+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go pass(listener, to)
	return listener.Addr().String()
}

// KillAPI kills the API server and its database. What runs on the nodes runs on, but nobody sees to it. They are
// started again by [Cluster.StartAPI], or when the test ends.
func (c *Cluster) KillAPI(t testing.TB) {
	t.Helper()
	c.killAPI()
	t.Cleanup(func() {
		if c.dead("api") {
			c.StartAPI(t)
		}
	})
}

// StartAPI starts both again, and waits until they answer.
func (c *Cluster) StartAPI(t testing.TB) {
	t.Helper()
	if err := c.startAPI(bounded(t)); err != nil {
		t.Fatalf("start the API server: %v", err)
	}
}

// KillOperator kills the operator of databases. Its deployment starts another one, which is waited for when the test
// ends.
func (c *Cluster) KillOperator(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.operatorReady(bounded(t)); err != nil {
			t.Error(err)
		}
	})
	if err := c.killOperator(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// Drain has all pods leave a node and none come, until the test ends.
func (c *Cluster) Drain(t testing.TB, node string) {
	t.Helper()
	t.Cleanup(func() { c.Kubectl(t, "uncordon", node) })
	c.Kubectl(t, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force")
}

// KillNode kills all that runs on a node, as a power failure does. It is started again by [Cluster.StartNode], or when
// the test ends.
func (c *Cluster) KillNode(t testing.TB, node string) {
	t.Helper()
	if err := c.killNode(bounded(t), node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.dead("kubelet-" + node) {
			c.StartNode(t, node)
		}
	})
}

// StartNode starts a node again that was killed, and waits until it is ready.
func (c *Cluster) StartNode(t testing.TB, node string) {
	t.Helper()
	i, err := c.index(node)
	if err == nil {
		err = c.startNode(bounded(t), i, node)
	}
	if err == nil {
		err = c.nodesReady(bounded(t))
	}
	if err != nil {
		t.Fatalf("start node %s: %v", node, err)
	}
}

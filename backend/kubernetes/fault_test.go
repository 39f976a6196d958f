package kubernetes_test

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/kubetest"
)

// crew is an instance of three nodes, and somebody who writes to it all the while that the cluster suffers.
type crew struct {
	lab
	b    *kubernetes.Backend
	spec backend.Spec
	w    *writer
}

// TestFaults is not beside other tests, and has a cluster of its own: what it does to that, it does to all that is in
// it.
func TestFaults(t *testing.T) {
	l := newLabOn(t, kubetest.Own(t), 2)
	b, _ := run(t, l.config(t, 30200, 30203))
	t.Cleanup(func() { l.wantNothing(t) })
	c := &crew{lab: l, b: b, spec: l.spec(t, 3)}
	l.serve(t, b, c.spec)
	c.w = write(t, l, l.table(t, b, c.spec))
	for _, fault := range []struct {
		name string
		try  func(*testing.T, *crew)
	}{
		{"APIAway", apiAway}, {"OperatorKilledInAnUpdate", operatorKilled}, {"NodeDrained", nodeDrained},
		{"NodeKilled", nodeKilled}, {"VolumeOfAStandbyDeleted", standbyWithoutVolume},
	} {
		before := c.w.count()
		if !t.Run(fault.name, func(t *testing.T) { fault.try(t, c) }) {
			t.FailNow()
		}
		c.whole(t)
		if c.w.count() == before {
			t.Errorf("nothing was acknowledged")
		}
		t.Log(fault.name)
		c.w.wantAll(t)
	}
}

// whole waits until all nodes serve the wanted generation.
func (c *crew) whole(t *testing.T) backend.Status {
	t.Helper()
	return until(t, c.b, c.spec.Instance, "all nodes", guarded(c.spec.Generation, 3))
}

// primary returns the node that serves, and the machine that it is on.
func (c *crew) primary(t *testing.T) (pod, machine string) {
	t.Helper()
	pod = primaryOf(c.whole(t))
	o, err := c.client.Resource(pods).Namespace(c.namespace).Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	machine, _, _ = unstructured.NestedString(o.Object, "spec", "nodeName")
	return pod, machine
}

// away is how long nobody can ask Kubernetes for anything.
const away = 65 * time.Second

// apiAway: the database goes on, and so do logins; changes wait, are told what for, and come true by themselves.
func apiAway(t *testing.T, c *crew) {
	c.w.lap()
	begun := c.spec
	begun.Generation++
	begun.Size.Connections += 10
	c.cluster.KillAPI(t)
	left := time.Now()
	refused := make(chan struct{})
	t.Cleanup(func() { <-refused })
	go func() { // each status all the while is one of an instance that serves
		defer close(refused)
		ctx, cancel := context.WithDeadline(context.Background(), left.Add(away))
		defer cancel()
		for revision := int64(0); ; {
			st, err := c.b.Await(ctx, c.spec.Instance, revision)
			if err != nil {
				return
			}
			if revision = st.Revision; !serves(st) {
				t.Errorf("without Kubernetes it is %+v", st)
			}
		}
	}()
	err := c.b.Apply(t.Context(), begun)
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "Kubernetes") {
		t.Errorf("Apply without Kubernetes: %v", err)
	}
	if _, err := c.b.CreateUser(t.Context(), c.spec.Instance, backend.User{Name: "u2", Password: "p2"}); err != nil {
		t.Errorf("CreateUser without Kubernetes: %v", err)
	}
	<-refused
	if gap := c.w.lap(); gap > 10*time.Second {
		t.Errorf("without Kubernetes the longest gap was %s", gap)
	}
	c.cluster.StartAPI(t)
	c.spec = begun
	await(t, "Kubernetes to take changes", func(ctx context.Context) (bool, error) {
		err := c.b.Apply(ctx, c.spec)
		if backstay.KindOf(err) == backstay.Unavailable {
			err = nil
		}
		return err == nil && c.held(t) == c.spec.Generation, err
	})
	c.whole(t)
	t.Logf("it is as wanted %s after Kubernetes answers again", time.Since(left.Add(away)).Round(time.Second))
}

func (c *crew) held(t *testing.T) int64 {
	t.Helper()
	held, err := c.b.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return held[c.spec.Instance]
}

// operatorKilled: another one goes on where it was.
func operatorKilled(t *testing.T, c *crew) {
	c.spec.Generation++
	c.spec.Size.Memory *= 2
	mustApply(t, c.b, c.spec)
	until(t, c.b, c.spec.Instance, "the first node to be replaced", func(st backend.Status) bool {
		return !guarded(st.Generation, 3)(st)
	})
	c.cluster.KillOperator(t)
	c.whole(t)
}

// nodeDrained: the primary goes first, to a standby that lacks nothing, and the node comes back when it may.
func nodeDrained(t *testing.T, c *crew) {
	before, machine := c.primary(t)
	t.Run("drained", func(t *testing.T) {
		c.w.lap()
		c.cluster.Drain(t, machine)
		st := until(t, c.b, c.spec.Instance, "another primary", func(st backend.Status) bool {
			return serves(st) && primaryOf(st) != before && !st.Protected.IsZero()
		})
		t.Logf("the longest gap was %s; %+v", c.w.lap(), st.Nodes)
	})
}

// nodeKilled: a machine is lost with the primary on it.
func nodeKilled(t *testing.T, c *crew) {
	before, machine := c.primary(t)
	c.w.lap()
	c.cluster.KillNode(t, machine)
	st := until(t, c.b, c.spec.Instance, "another primary", func(st backend.Status) bool {
		return serves(st) && primaryOf(st) != before
	})
	if st.Failover == nil || st.Failover.Planned {
		t.Errorf("after the loss of %s it is %+v", before, st)
	}
	acked := c.w.count()
	await(t, "writes", func(context.Context) (bool, error) { return c.w.count() > acked, nil })
	t.Logf("the longest gap was %s", c.w.lap())
	c.cluster.StartNode(t, machine)
}

// standbyWithoutVolume: it is made anew.
func standbyWithoutVolume(t *testing.T, c *crew) {
	st := c.whole(t)
	var standby string
	for _, n := range st.Nodes {
		if n.Role == backend.Standby {
			standby = n.Name
		}
	}
	before := c.delete(t, claims, standby)
	c.delete(t, pods, standby)
	await(t, "another volume", func(ctx context.Context) (bool, error) {
		all, err := c.client.Resource(claims).Namespace(c.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for _, o := range all.Items {
			if o.GetUID() == before.GetUID() {
				return false, nil
			}
		}
		return len(all.Items) == 3, nil
	})
}

package kubernetes

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// withPrimary is a Cluster that has served, and a claim of it.
func withPrimary(cluster *unstructured.Unstructured) (served, claim *unstructured.Unstructured) {
	cluster.Object["status"] = map[string]any{"currentPrimary": nameOf(anId) + "-1"}
	claim = newObject("v1", "PersistentVolumeClaim", "services", nameOf(anId)+"-1", anId)
	claim.SetLabels(map[string]string{clusterLabel: nameOf(anId)})
	return cluster, claim
}

// TestVolumesAreLost of an instance: nothing of it can be archived any more, and nobody waits for that, neither a return
// to what was archived nor the end of the instance.
func TestVolumesAreLost(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]bool{"deleted": false, "there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster()
			b := c.backend(t)
			b.withBackup(t, "")
			cluster, claim := withPrimary(aCluster("1"))
			c.put(clusters, cluster)
			if there {
				c.put(claims, claim)
			}
			spec, reached := keptSpec(), keptSpec()
			spec.Origin = &backend.Origin{Instance: anId, Key: "the-key", Return: 1}
			reached.Generation = 2
			in := c.holding(t, b, record{Spec: spec, Reached: &reached, Served: true, Restores: 1,
				Keeping: keeping{Lines: []line{{Name: "1"}}}})
			in.b.Engines = nil // whoever is asked for the end of the log fails

			// Nobody has decided yet what it returns to: its data is there, of which no last backup is wanted.
			quiet := in.record
			quiet.Spec.Backup = &backend.BackupPolicy{Days: 7, Key: "the-key"}
			if done, err := in.close(t.Context(), quiet); done == there {
				t.Errorf("it is ready to be removed: %t, %v", done, err)
			}
			err := in.lost(t.Context(), in.record)
			if isLost := backstay.KindOf(err) == backstay.Unsupported; isLost == there {
				t.Errorf("its data: %v", err)
			}
			if !there && !strings.Contains(err.Error(), "Each volume of the service instance has been deleted") {
				t.Errorf("it is said that %v", err)
			}
			if err := in.decide(t.Context(), in.record, spec.Origin, false); (err != nil) != there {
				t.Errorf("what it returns to: %v", err)
			}
			if b := in.record.Bring; !there && (b == nil || b.Backup != "20261129T075500") {
				t.Errorf("it returns to %+v", b)
			}
		})
	}
}

// TestDamagedDataIsNotWaitedFor for ever: an instance whose server does not come up returns without what that has
// written last, unless it is only Backstay that does not reach it, or somebody keeps it from running.
func TestDamagedDataIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ready   bool
		held    string
		returns bool
	}{
		"damaged":     {returns: true},
		"not reached": {ready: true},
		"asleep":      {held: "on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster()
			b := c.backend(t)
			b.withBackup(t, "")
			now := time.Now()
			b.Now = func() time.Time { return now }
			b.Engines = nil // the server does not answer
			cluster, claim := withPrimary(aCluster("1"))
			cluster.SetAnnotations(map[string]string{"cnpg.io/hibernation": tc.held})
			c.put(clusters, cluster)
			c.put(claims, claim)
			c.put(pods, aNode(tc.ready))
			spec, reached := keptSpec(), keptSpec()
			spec.Origin = &backend.Origin{Instance: anId, Key: "the-key", Return: 1}
			reached.Generation = 2
			in := c.holding(t, b, record{Spec: spec, Reached: &reached, Served: true, Restores: 1,
				Keeping: keeping{Lines: []line{{Name: "1"}}}})
			for _, minutes := range []time.Duration{0, 1, 4} {
				now = now.Add(minutes * time.Minute)
				in.bring(t.Context(), in.record)
				if returned := in.record.Bring != nil; returned != (tc.returns && minutes == 4) {
					t.Errorf("%d minutes later, it returns: %t", minutes, returned)
				}
			}
			if to := in.record.Bring; tc.returns && !strings.Contains(to.Passed, "what it had written last is lost") {
				t.Errorf("users read %q", to.Passed)
			}
			in.record.Bring, in.record.Spec = nil, reached // it is wanted no longer, and some day wanted again
			in.bring(t.Context(), in.record)
			in.record.Spec = spec
			if in.bring(t.Context(), in.record); in.record.Bring != nil {
				t.Error("another return does not wait any more")
			}
		})
	}
}

// aNode is the pod of a node.
func aNode(ready bool) *unstructured.Unstructured {
	o := newObject("v1", "Pod", "services", nameOf(anId)+"-1", anId)
	o.SetLabels(map[string]string{clusterLabel: nameOf(anId), "cnpg.io/instanceName": nameOf(anId) + "-1"})
	state := map[bool]string{true: "True", false: "False"}[ready]
	o.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": state}}}
	return o
}

// TestOperatorIsAway: neither users nor doctor hear that the cluster does not answer, nor that all is well.
func TestOperatorIsAway(t *testing.T) {
	t.Parallel()
	away := errors.New(`failed calling webhook "mcluster.cnpg.io": failed to call webhook: no endpoints available`)
	said := backstay.SentenceOf(classified(apierrors.NewInternalError(away)))
	if !strings.HasPrefix(said, "CloudNativePG does not answer") {
		t.Errorf("users read %q", said)
	}
	other := backstay.SentenceOf(classified(apierrors.NewInternalError(errors.New("etcdserver: no leader"))))
	if other != "The Kubernetes cluster does not answer." {
		t.Errorf("of a cluster without its store users read %q", other)
	}
	c := newFakeCluster()
	b := c.backend(t)
	operator := newObject("apps/v1", "Deployment", "cnpg-system", "cnpg-controller-manager", anId)
	manager := map[string]any{"name": "manager", "image": "x:" + Operator + ".0"}
	operator.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{manager}}}}
	for running, want := range map[int64]Level{0: Lacking, 1: Good} {
		operator.Object["status"] = map[string]any{"availableReplicas": running}
		c.put(deployments, operator)
		if f := b.examineOperator(t.Context()); f.Level != want {
			t.Errorf("doctor says of %d that run: %+v", running, f)
		}
	}
}

func TestHeldBy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        string
	}{
		"nothing":            {nil, ""},
		"sleep":              {map[string]string{"cnpg.io/hibernation": "on"}, "cnpg.io/hibernation"},
		"sleep that is over": {map[string]string{"cnpg.io/hibernation": "off"}, ""},
		"a fence":            {map[string]string{"cnpg.io/fencedInstances": `["*"]`}, "cnpg.io/fencedInstances"},
		"no fence":           {map[string]string{"cnpg.io/fencedInstances": "[]"}, ""},
	} {
		if got := heldBy(tc.annotations); got != tc.want {
			t.Errorf("%s: it is held by %q, want %q", name, got, tc.want)
		}
	}
}

package kubernetes

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/backstay/backstay/backend"
)

// TestUpgradeIsGivenUp though it cannot be noted at first. The operator's job, once it is kept from going on, has no pod
// any more by which it would be seen that nothing does.
func TestUpgradeIsGivenUp(t *testing.T) {
	t.Parallel()
	c := newFakeCluster()
	b := c.backend(t)
	job := newObject("batch/v1", "Job", "services", nameOf(anId)+"-1-major-upgrade", anId)
	job.SetLabels(map[string]string{clusterLabel: nameOf(anId), roleLabel: upgradeRole})
	c.put(upgradeJobs, job)
	away, suspended := true, false
	c.refuse = func(verb, resource string) error {
		switch {
		case verb == "update" && resource == secrets.Resource && away:
			away = false
			return apierrors.NewTimeoutError("the cluster is busy", 1)
		case verb == "patch" && resource == upgradeJobs.Resource:
			suspended = true
		}
		return nil
	}
	s := serving(1)
	s.record.Raise = &raise{Spec: backend.Spec{Generation: 2, Version: "16"}, From: "15", Stage: converting}
	in := c.holding(t, b, s.record)
	in.hindered = time.Now().Add(-time.Hour)
	for range 4 {
		s.record, s.view = in.record, view{Exists: true, Major: "15"}
		if !suspended {
			s.view.Raising.trouble = "Kubernetes has no room for the node."
		}
		if saved, err := in.watchRaise(t.Context(), s); saved && err == nil && suspended && !in.record.at(failed) {
			t.Fatal("the job is kept from going on before it is known that the upgrade has failed")
		}
	}
	if !in.record.at(failed) || in.record.Raise.Why == "" || !suspended {
		t.Errorf("it has come to %+v, and its job is kept from going on: %t", in.record.Raise, suspended)
	}
}

package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backstay/backstay/engine"
)

// watchRaise looks for the end of the operator's job. Whoever has failed is not tried again: the server before is to
// serve, which it does with the image of before, once nothing is left of the job.
func (in *instance) watchRaise(ctx context.Context, s situation) (saved bool, err error) {
	r, v := s.record, s.view
	switch {
	case r.at(failed) && v.Major == r.Raise.Spec.Version: // it has just come to its end nevertheless
		return true, in.setRaise(ctx, func(up *raise) { up.Stage, up.Why = converting, "" })
	case r.at(failed):
		return false, in.comeDown(ctx, s)
	case !r.at(converting) || v.Major == r.Raise.Spec.Version || v.Raising.works:
		return false, nil
	case v.Raising.failed != "":
		return true, in.giveUp(ctx, in.objection(ctx, r, v.Raising.failed))
	case v.Raising.trouble != "":
		if in.hindered.IsZero() {
			in.hindered = in.b.Now()
		}
		if in.b.Now().Sub(in.hindered) < hinderedLimit {
			return false, nil
		}
		return true, in.giveUp(ctx, v.Raising.trouble)
	}
	in.hindered = time.Time{}
	return false, nil
}

// giveUp notes that an upgrade has failed. Only then is the operator's job kept from going on with it: without its pod,
// nobody would see any more why nothing does.
func (in *instance) giveUp(ctx context.Context, why string) error {
	in.b.Log.Warn("an upgrade has failed", "instance", in.id, "reason", why)
	return in.setRaise(ctx, func(up *raise) { up.Stage, up.Why = failed, why })
}

// comeDown ends an upgrade that has failed: its job is not tried again, and the operator makes nodes of the image
// before. It takes the image of the version that the data has for the one in use, and would go on to make them of the
// later one.
func (in *instance) comeDown(ctx context.Context, s situation) error {
	name, v := nameOf(in.id), s.view
	if err := in.b.suspendJobs(ctx, name); err != nil {
		return err
	}
	switch {
	case v.Asked != s.wish.image.Name: // what is wanted of it comes first
		return nil
	case v.Image != s.wish.image.Name:
		return in.b.setImage(ctx, name, s.wish.image.Name)
	case v.Raising != raising{} || !v.Ready: // a job that is there keeps the operator from all else
		return in.b.removeJobs(ctx, name)
	}
	return nil
}

// setImage has the operator make nodes of an image from now on.
func (b *Backend) setImage(ctx context.Context, name, image string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	text, err := json.Marshal(map[string]any{"status": map[string]any{"image": image}})
	if err != nil {
		return err
	}
	_, err = b.in(clusters).Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: manager},
		"status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return classified(err)
}

// hinderedLimit is how long a job may not start, or a node have no image, while nobody may be served.
const hinderedLimit = time.Minute

const upgradeRole = "major-upgrade" // of the operator's job, and of its container

// objection is a sentence that says why the job has failed.
func (in *instance) objection(ctx context.Context, r record, pod string) string {
	said, err := in.b.saidBy(ctx, pod, upgradeRole, "pg_upgrade")
	if err != nil {
		in.b.Log.Warn("it cannot be read why an upgrade has failed", "instance", in.id, "error", err)
	}
	reason := ""
	if u, ok := in.b.Engines[r.Spec.Engine].(engine.HostedUpgrader); ok {
		reason = u.UpgradeObjection(said)
	}
	return fmt.Sprintf("%s %s cannot become %s: %s", product, r.Raise.From, r.Raise.Spec.Version,
		cmp.Or(reason, "the reason is in the operator's log."))
}

// removeJobs removes the operator's jobs of an upgrade, with their pods.
func (b *Backend) removeJobs(ctx context.Context, name string) error {
	return b.eachJob(ctx, name, func(job string) error { return b.remove(ctx, upgradeJobs, job) })
}

// suspendJobs has the operator's job of an upgrade not be tried again: the image is about to be another one.
func (b *Backend) suspendJobs(ctx context.Context, name string) error {
	return b.eachJob(ctx, name, func(job string) error {
		ctx, cancel := context.WithTimeout(ctx, answerLimit)
		defer cancel()
		_, err := b.in(upgradeJobs).Patch(ctx, job, types.MergePatchType, []byte(`{"spec": {"suspend": true}}`),
			metav1.PatchOptions{FieldManager: manager})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return classified(err)
	})
}

func (b *Backend) eachJob(ctx context.Context, name string, do func(job string) error) error {
	all, err := b.list(ctx, upgradeJobs, clusterLabel+"="+name+","+roleLabel+"="+upgradeRole)
	for _, o := range all {
		err = errors.Join(err, do(o.GetName()))
	}
	return err
}

// raising is what is seen of the operator's job.
type raising struct {
	works   bool
	failed  string // a pod of it that has failed
	trouble string // why one does not start
}

const roleLabel = "cnpg.io/jobRole"

func raisingOf(podList []*unstructured.Unstructured) (up raising) {
	for _, p := range podList {
		if p.GetLabels()[roleLabel] != upgradeRole {
			continue
		}
		trouble := troubleOf(p)
		switch phase := text(p, "status", "phase"); {
		case phase == "Failed":
			up.failed = p.GetName()
		case trouble != "":
			up.trouble = trouble
		case phase == "Running" || phase == "Pending":
			up.works = true
		}
	}
	return up
}

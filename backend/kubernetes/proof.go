package kubernetes

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
)

// proofID is whose the Cluster is in which a backup of an instance is tried. No instance has that id: it is longer.
func proofID(id backstay.InstanceID) backstay.InstanceID { return id + "-proof" }

func proofName(id backstay.InstanceID) string { return nameOf(proofID(id)) }

// Prove has the operator make another Cluster from the newest backup, and removes it once that answers.
func (b *Backend) Prove(ctx context.Context, id backstay.InstanceID) (p backend.Proof, err error) {
	in, r, err := b.find(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound {
		if _, err := b.leftOf(ctx, id); err != nil {
			return p, err
		}
		return p, backstay.Errorf(backstay.Unsupported, "The instance %s is removed: nothing of it can be started.", id)
	}
	if err != nil {
		return p, err
	}
	if err := in.catchUp(ctx, r); err != nil {
		return p, err
	}
	list, _, _ := in.custody.look()
	if !keeps(r) || len(list) == 0 {
		return p, noBackups(id)
	}
	in.proving.Lock()
	defer in.proving.Unlock()
	newest := list[len(list)-1]
	began := b.Now()
	why := b.tryBackup(ctx, r, newest)
	if ctx.Err() != nil {
		return p, ctx.Err()
	}
	p = backend.Proof{Backup: newest.ID, At: b.Now().UTC().Truncate(time.Millisecond), Took: b.Now().Sub(began)}
	if why != nil {
		p.Reason, p.Disproved = sentenceFor(why), backstay.KindOf(why) == backstay.Invalid
	}
	_, err = in.amend(ctx, func(r record) record {
		r.Keeping.Proof = p
		return r
	})
	if why != nil {
		return p, why
	}
	return p, err
}

// proofLimit is how long a proof of a large database may take.
const proofLimit = 24 * time.Hour

// tryBackup fails if the backup does not become a server that serves.
func (b *Backend) tryBackup(ctx context.Context, r record, s stored) (err error) {
	ctx, cancel := context.WithTimeout(ctx, proofLimit)
	defer cancel()
	id := r.Spec.Instance
	scratch, w, err := b.proofWish(r, s)
	if err != nil {
		return err
	}
	if err := b.removeProof(ctx, id); err != nil { // which somebody has left who was killed
		return err
	}
	defer func() {
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if failure := b.removeProof(cleaning, id); err == nil {
			err = failure
		}
	}()
	for _, o := range w.objects() {
		if err := b.apply(ctx, o, false); err != nil {
			return err
		}
	}
	var ready time.Time
	return wait.Until(ctx, wait.Every(500*time.Millisecond), func() (again bool, err error) {
		o, err := b.get(ctx, clusters, proofName(id))
		if err == nil && o == nil {
			err = backstay.Errorf(backstay.Unavailable, "Somebody has removed the server that was given the backup.")
		}
		if err != nil {
			return false, err
		}
		if hasCondition(o, "Ready") {
			if ready.IsZero() {
				ready = b.Now()
			}
			err := b.askProof(ctx, scratch, w, text(o, "status", "currentPrimary"))
			return err != nil && b.Now().Sub(ready) < proofPatience, err
		}
		made, err := b.list(ctx, pods, clusterLabel+"="+proofName(id))
		if err != nil {
			return false, err
		}
		if jobsOf(pointers(made)).failed > 1 {
			return false, backstay.Errorf(backstay.Invalid, "The server that was given the backup has ended.")
		}
		return true, nil
	})
}

// proofPatience is how long a server that the operator calls ready may take to answer.
const proofPatience = 2 * time.Minute

// askProof fails if the server that was given the backup does not answer: that it accepts connections is all that the
// operator knows.
func (b *Backend) askProof(ctx context.Context, scratch record, w wish, pod string) error {
	in := newInstance(b, scratch.Spec.Instance)
	return b.Engines[w.spec.Engine].Probe(ctx, in.intoPod(scratch, w, pod))
}

func pointers(list []unstructured.Unstructured) (all []*unstructured.Unstructured) {
	for i := range list {
		all = append(all, &list[i])
	}
	return all
}

// proofWish is a Cluster of one node for nobody, and what would be its record.
func (b *Backend) proofWish(r record, s stored) (scratch record, w wish, err error) {
	spec := r.standing()
	spec.Instance, spec.Private, spec.Nodes, spec.Backup = proofID(spec.Instance), true, 1, nil
	spec.Reading = backend.Reading{}
	build := r.Build
	if major, _, _ := strings.Cut(s.Version, "."); major != spec.Version { // it is from before an upgrade
		spec.Version, spec.Settings, build = major, nil, ""
	}
	scratch = record{Spec: spec, Build: build, Bring: &origin{
		Of: r.Spec.Instance, Line: s.Line, Backup: s.ID, Alone: true,
	}}
	w, err = b.wishFor(scratch, spec)
	return scratch, w, err
}

// removeProof returns when nothing is left of a proof.
func (b *Backend) removeProof(ctx context.Context, id backstay.InstanceID) error {
	return wait.Until(ctx, wait.Every(250*time.Millisecond), func() (again bool, err error) {
		left, err := b.takeProof(ctx, id)
		return err == nil && left > 0, err
	})
}

// takeProof removes what there is of a proof, and tells how much is still there.
func (b *Backend) takeProof(ctx context.Context, id backstay.InstanceID) (left int, err error) {
	if left, err = b.emptyCluster(ctx, proofName(id)); err != nil || left > 0 {
		return left, err
	}
	for _, resource := range []schema.GroupVersionResource{secrets, policies} {
		ours, err := b.list(ctx, resource, instanceLabel+"="+string(proofID(id)))
		if err != nil {
			return 0, err
		}
		for _, o := range ours {
			if err := b.remove(ctx, resource, o.GetName()); err != nil {
				return 0, err
			}
		}
		left += len(ours)
	}
	return left, nil
}

// jobs are the operator's attempts to make the data of a node.
type jobs struct {
	failed int
	works  bool
}

func jobsOf(podList []*unstructured.Unstructured) (j jobs) {
	for _, p := range podList {
		if _, isNode := p.GetLabels()["cnpg.io/instanceName"]; isNode && p.GetLabels()["cnpg.io/podRole"] != "job" {
			continue
		}
		switch text(p, "status", "phase") {
		case "Failed":
			j.failed++
		case "Running":
			j.works = true
		}
	}
	return j
}

package kubernetes

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
)

// mustExist tells whether a Cluster that is not there has been deleted by somebody, with its data.
func (s situation) mustExist() bool { return s.record.Served && !s.record.brings() }

// isBare tells whether nothing is left of the data: the Cluster is not there, or all volumes of one that has had a
// primary have been deleted. The operator makes no others for it, and no server ever answers.
func (v view) isBare() bool { return !v.Exists || v.Primary != "" && len(v.Volumes) == 0 }

// isBare asks Kubernetes, since what is watched may be older.
func (b *Backend) isBare(ctx context.Context, id backstay.InstanceID) (bool, error) {
	v, err := b.viewNow(ctx, id)
	return err == nil && v.isBare(), err
}

// lost fails where nothing is left of the data, as Unsupported: only a Spec that brings data helps. An empty database
// never takes the place of one that served.
func (in *instance) lost(ctx context.Context, r record) error {
	v, err := in.b.viewNow(ctx, in.id)
	if err != nil || !v.isBare() {
		return err
	}
	what, wayOut := "The Cluster", "delete the service instance."
	if v.Exists {
		what = "Each volume"
	}
	if keeps(r) {
		wayOut = "return to an earlier moment, or delete the service instance."
	}
	return backstay.Errorf(backstay.Unsupported, "%s of the service instance has been deleted from Kubernetes, "+
		"and its data with it. Nothing is made in its place: %s", what, wayOut)
}

// only has an object be applied to the one that is there, and not be made where that has been deleted meanwhile.
// Between a look at it and what follows the server is asked, which can take its time.
func only(o, there *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.SetUID(there.GetUID())
	return o
}

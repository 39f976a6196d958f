package kubernetes

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
)

// mustExist tells whether a Cluster that is not there has been deleted by somebody, with its data.
func (s situation) mustExist() bool { return s.record.Served && !s.record.brings() }

// lost fails where the Cluster is not there, as Unsupported: only a Spec that brings data helps. An empty database
// never takes the place of one that served.
func (in *instance) lost(ctx context.Context, r record) error {
	cluster, err := in.b.get(ctx, clusters, nameOf(in.id))
	if err != nil || cluster != nil {
		return err
	}
	wayOut := "delete the service instance."
	if keeps(r) {
		wayOut = "return to an earlier moment, or delete the service instance."
	}
	return backstay.Errorf(backstay.Unsupported, "The Cluster of the service instance has been deleted from Kubernetes, "+
		"and its data with it. Nothing is made in its place: %s", wayOut)
}

// only has an object be applied to the one that is there, and not be made where that has been deleted meanwhile.
// Between a look at it and what follows the server is asked, which can take its time.
func only(o, there *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.SetUID(there.GetUID())
	return o
}

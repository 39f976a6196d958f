package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"time"

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

// mutePatience is how long a server may be down until an instance that returns to an earlier moment does so without
// what that server has written last: who returns has damaged data as often as not, with which no server ever comes up.
const mutePatience = 5 * time.Minute

// isMute tells whether that is over. Where Kubernetes says of a node that it is ready, it is Backstay that does not
// reach it; and who keeps it from running means to let it run again.
func (in *instance) isMute(ctx context.Context) bool {
	v, err := in.b.viewNow(ctx, in.id)
	if err != nil || v.Held != "" || slices.ContainsFunc(v.Nodes, func(p pod) bool { return p.Ready }) {
		in.mute = time.Time{}
		return false
	}
	now := in.b.Now()
	if in.mute.IsZero() {
		in.mute = now
	}
	return now.Sub(in.mute) >= mutePatience
}

// unsaid is what users read of what a server has written that is not in the archive.
func (r record) unsaid() string {
	const why = "The server that was there did not come up any more, and what it had written last is lost."
	end := r.Keeping.current().Mark.Reaches()
	if end.IsZero() {
		return why
	}
	return fmt.Sprintf("%s The archive ends at %s UTC.", why, end.UTC().Format(time.DateTime))
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

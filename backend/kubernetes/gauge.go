package kubernetes

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Storage asks the server, since what a volume holds only its machine could tell. Whether more can be stored
// than the plan says is for the storage class to know.
func (b *Backend) Storage(ctx context.Context, id backstay.InstanceID) (backend.Storage, error) {
	in, r, err := b.find(ctx, id)
	if err != nil {
		return backend.Storage{}, err
	}
	if st, _, _ := in.look(); st.Phase != backend.Running {
		return backend.Storage{}, backstay.Errorf(backstay.Unavailable, "The service instance does not serve.")
	}
	w, err := b.wishFor(r, r.standing())
	if err != nil {
		return backend.Storage{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	n, way := in.into(r, w)
	used, err := way.engine.Stored(ctx, n)
	return backend.Storage{Used: used}, err
}

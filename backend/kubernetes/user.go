package kubernetes

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// comingUp is how long a call waits for an instance that comes up.
const comingUp = 40 * time.Second

// serving returns the node of an instance that serves, as soon as it does. It does not wait for one that fails.
func (b *Backend) serving(ctx context.Context, in *instance) (engine.Node, engine.Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, comingUp)
	defer cancel()
	for {
		st, gone, changed := in.look()
		switch {
		case gone || st.Phase == backend.Removing:
			return engine.Node{}, nil, unknown(in.id)
		case st.Phase == backend.Failing:
			return engine.Node{}, nil, backstay.Errorf(backstay.Unavailable, "%s", st.Message)
		case st.Phase == backend.Running:
			r, _ := in.known()
			w, err := b.wishFor(r, r.standing())
			if err != nil {
				return engine.Node{}, nil, err
			}
			n, _ := in.into(r, w)
			return n, b.Engines[r.Spec.Engine], nil
		}
		select {
		case <-changed:
		case <-b.ctx.Done():
			return engine.Node{}, nil, backstay.Errorf(backstay.Unavailable, "Backstay is about to end.")
		case <-ctx.Done():
			return engine.Node{}, nil, backstay.Errorf(backstay.Unavailable, "The service instance does not serve yet.")
		}
	}
}

func (b *Backend) CreateUser(
	ctx context.Context, id backstay.InstanceID, u backend.User,
) (backstay.Credentials, error) {
	in, r, err := b.find(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Replica:
		return nil, backstay.Errorf(backstay.Unsupported,
			"Service instances on Kubernetes have no replicas to read from yet.")
	case r.Spec.Private:
		return nil, backstay.Errorf(backstay.Unsupported, "A service instance without an endpoint has no users.")
	}
	n, e, err := b.serving(ctx, in)
	if err != nil {
		return nil, err
	}
	return e.CreateUser(ctx, n, engine.User{Name: u.Name, Password: u.Password, ReadOnly: u.ReadOnly})
}

// userName is what users can be called: see engine.User. Nobody is called anything else.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func (b *Backend) DropUser(ctx context.Context, id backstay.InstanceID, name string) error {
	in, _, err := b.find(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	n, e, err := b.serving(ctx, in)
	if err == nil {
		err = e.DropUser(ctx, n, name)
	}
	switch kind := backstay.KindOf(err); {
	case err == nil || kind == backstay.NotFound:
		return nil
	case kind == backstay.Invalid || ctx.Err() != nil:
		return err
	}
	return in.owe(ctx, name, err)
}

// owe notes that a user is to be dropped before the instance serves again. One that serves, and has not done it, is not
// asked to: why is the error then.
func (in *instance) owe(ctx context.Context, name string, why error) error {
	in.write.Lock()
	defer in.write.Unlock()
	r, known := in.known()
	st, _, _ := in.look()
	switch {
	case !known || r.Removing || !userName.MatchString(name) || slices.Contains(r.Drops, name):
		return nil
	case st.Phase == backend.Running:
		return why
	}
	r.Drops = append(slices.Clone(r.Drops), name)
	err := in.save(ctx, r)
	in.wake()
	return err
}

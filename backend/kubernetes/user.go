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
	case r.Spec.Private:
		return nil, backstay.Errorf(backstay.Unsupported, "A service instance without an endpoint has no users.")
	}
	n, e, err := b.serving(ctx, in)
	if err != nil {
		return nil, err
	}
	user := engine.User{Name: u.Name, Password: u.Password, ReadOnly: u.ReadOnly}
	if u.Replica {
		return in.createReader(ctx, n, e, user)
	}
	return e.CreateUser(ctx, n, user)
}

// createReader makes a user whose credentials name where replicas are read from.
func (in *instance) createReader(
	ctx context.Context, n engine.Node, e engine.Engine, u engine.User,
) (backstay.Credentials, error) {
	if err := in.giveReads(ctx); err != nil {
		return nil, err
	}
	r, _ := in.known()
	n.Endpoint = in.b.reads(r)
	c, err := e.CreateUser(ctx, n, u)
	if err == nil {
		err = in.catchUpReaders(ctx, r)
	}
	if err == nil {
		err = in.awaitReads(ctx, r)
	}
	return c, err
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
	if err == nil {
		err = in.noteDropped(ctx, name)
	}
	if err == nil {
		r, _ := in.known()
		return in.catchUpReaders(ctx, r)
	}
	switch kind := backstay.KindOf(err); {
	case kind == backstay.NotFound:
		return nil
	case kind == backstay.Invalid || ctx.Err() != nil:
		return err
	}
	return in.owe(ctx, name, err)
}

// noteDropped notes that a user was dropped of data that may have to make room for the data before again.
func (in *instance) noteDropped(ctx context.Context, name string) error {
	if r, _ := in.known(); !r.supplants() || r.Bring.Own {
		return nil
	}
	_, err := in.amend(ctx, func(r record) record { return r.without([]string{name}) })
	return err
}

// union is all of both, each once.
func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, name := range b {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// owe notes that a user is to be dropped before the instance serves again. One that serves, and has not done it, is not
// asked to: why is the error then.
func (in *instance) owe(ctx context.Context, name string, why error) error {
	in.write.Lock()
	defer in.write.Unlock()
	r, known := in.known()
	st, _, _ := in.look()
	switch {
	case !known || r.Removing || !userName.MatchString(name):
		return nil
	case slices.Contains(r.Drops, name): // who asks again was not answered: readers may not be held yet
		return in.holdReaders(ctx, r)
	case st.Phase == backend.Running:
		return why
	}
	r.Drops = append(slices.Clone(r.Drops), name)
	err := in.save(ctx, r)
	in.wake()
	if err == nil {
		err = in.holdReaders(ctx, r)
	}
	return err
}

package instance

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// Serving returns the node while it serves clients. One that is on its way there is waited for: who asks just
// after a crash is not to feel it.
func (in *Instance) Serving(ctx context.Context) (node.Node, error) {
	for {
		status, changed := in.Look()
		switch status.Phase {
		case backend.Running:
			r := in.Record()
			return in.m.node(r, r.spec(r.Started))
		case backend.Failing, backend.Removing:
			return node.Node{}, backstay.Errorf(backstay.Unavailable,
				"The service instance does not serve now: %s", status.Message)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return node.Node{}, backstay.Wrapf(ctx.Err(), backstay.Unavailable,
				"The service instance does not serve yet: %s", status.Message)
		}
	}
}

// Process is how the instance is administered on this machine, once it serves: the pid of its process,
// and the node.
func (in *Instance) Process(ctx context.Context) (pid int, n node.Node, err error) {
	if n, err = in.Serving(ctx); err != nil {
		return 0, n, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pid == 0 { // it has just ended
		err = backstay.Errorf(backstay.Unavailable, "The service instance does not serve now.")
	}
	return in.pid, n, err
}

// CreateUser gives a user credentials.
func (in *Instance) CreateUser(ctx context.Context, u backend.User) (backstay.Credentials, error) {
	n, err := in.Serving(ctx)
	if err != nil {
		return nil, err
	}
	if u.Replica {
		if n.Endpoint.Port = in.Record().ReadPort; n.Endpoint.Port == 0 {
			return nil, backstay.Errorf(backstay.Unavailable, "The service instance has no address for reads yet.")
		}
	}
	defer func() {
		select {
		case in.userMade <- struct{}{}:
		default:
		}
	}()
	if err := in.noteUser(u.Name, false); err != nil {
		return nil, err
	}
	c, err := n.Engine.CreateUser(ctx, n.Node, engine.User{Name: u.Name, Password: u.Password, ReadOnly: u.ReadOnly})
	if err == nil {
		err = in.mirror(ctx, n, false)
	}
	if err == nil && u.Replica {
		err = in.awaitRoute(ctx)
	}
	return c, err
}

// Rotate gives the administrator of the instance's node another password, if that has one.
func (in *Instance) Rotate(ctx context.Context) (has bool, err error) {
	n, err := in.Serving(ctx)
	if err != nil {
		return false, err
	}
	rotator, has := n.Engine.(engine.Rotator)
	if !has {
		return false, nil
	}
	return true, rotator.Rotate(ctx, n.Node)
}

// DropUser drops a user, or if the instance does not serve, records that it is to be dropped before it
// serves again.
func (in *Instance) DropUser(ctx context.Context, name string) error {
	if err := in.noteUser(name, true); err != nil {
		return err
	}
	for refused := false; ; {
		n, err := in.Serving(ctx)
		if err == nil {
			if err = n.Engine.DropUser(ctx, n.Node, name); err == nil {
				err = in.mirror(ctx, n, true)
			}
			if err == nil {
				return nil
			}
		}
		if backstay.KindOf(err) == backstay.Invalid { // no such name can be anybody's
			return err
		}
		owed, oweErr := in.owe(context.WithoutCancel(ctx), name)
		switch {
		case owed || oweErr != nil:
			return oweErr
		case ctx.Err() != nil:
			return err
		case n.Engine != nil && !in.lend(ctx): // it serves, and refuses, unless a full volume got room behind that
			if refused {
				return err
			}
			refused = true
		}
	}
}

// userName is what users can be called: see engine.User. Nobody is called anything else.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// owe records that a user is to be dropped, unless the instance serves: then that can be done at once.
func (in *Instance) owe(ctx context.Context, name string) (owed bool, err error) {
	in.write.Lock()
	defer in.write.Unlock()
	if status, _ := in.Look(); status.Phase == backend.Running {
		return false, nil
	}
	r := in.Record()
	if r.Removing || !userName.MatchString(name) {
		return true, nil
	}
	if !slices.Contains(r.Drops, name) {
		if err := step.Run(ctx, in.oweSteps(name)...); err != nil {
			return true, err
		}
	}
	return true, in.holdReaders(ctx)
}

func (in *Instance) oweSteps(name string) []step.Step {
	return []step.Step{{Name: "keeper.drop-owed", Do: func(context.Context) error {
		return in.amend(func(r *Record) { r.Drops = append(r.Drops, name) })
	}}}
}

// dropSteps drop the users that are owed to be dropped.
func (in *Instance) dropSteps() []step.Step {
	return []step.Step{{Name: "keeper.users-dropped", Do: func(ctx context.Context) error {
		owed := in.Record().Drops
		n := in.seen.node
		ctx, cancel := context.WithTimeout(ctx, awaitPatience)
		defer cancel()
		for _, name := range owed {
			if err := n.Engine.DropUser(ctx, n.Node, name); err != nil {
				return err
			}
		}
		if err := in.mirror(ctx, n, true); err != nil {
			return err
		}
		return in.amendAlone(func(r *Record) {
			r.Drops = slices.DeleteFunc(r.Drops, func(name string) bool { return slices.Contains(owed, name) })
		})
	}}}
}

func isMissing(err error) bool { return errors.Is(err, errMissing) }

package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
)

// bringUpSteps end with a running engine of the wanted generation: one that runs already is left
// alone, whoever started it.
func (s *supervisor) bringUpSteps(p **process.Process) []step.Step {
	var n engine.Node
	release := func() {}
	return []step.Step{
		{Name: "keeper.prepared", Do: func(ctx context.Context) (err error) {
			if s.engine() == nil {
				return backstay.Errorf(backstay.Unavailable, "This build of Backstay has no engine %s.", s.current().Spec.Engine)
			}
			if *p, err = s.adopt(); err != nil {
				return err
			}
			if *p != nil {
				n, err = s.node(s.current())
				return err
			}
			if err := s.k.slots.Acquire(ctx, 1); err != nil {
				return err
			}
			release = sync.OnceFunc(func() { s.k.slots.Release(1) })
			if n, err = s.prepare(ctx); err != nil {
				release()
			}
			return err
		}},
		{Name: "keeper.started", Do: func(context.Context) (err error) {
			if *p != nil {
				return nil
			}
			s.enter(backend.Starting, "%s %s is starting.", s.current().Spec.Engine, n.Installation.FullVersion)
			if *p, err = s.start(n); err != nil {
				release()
			}
			return err
		}},
		{Name: "keeper.serving", Do: func(ctx context.Context) error {
			defer release()
			return s.awaitService(ctx, n, *p)
		}},
		{Name: "keeper.reached", Do: func(context.Context) error { return s.reached(n, *p) }},
	}
}

// prepare makes the directories of an instance and the data in it, as the record says at this moment:
// what is wanted may change meanwhile.
func (s *supervisor) prepare(ctx context.Context) (n engine.Node, err error) {
	r := s.current()
	if r.Reached == 0 {
		s.enter(backend.Preparing, "The data directory is being prepared.")
	}
	if r.Installation, err = s.k.found.find(ctx, r.Spec.Engine, r.Spec.Version); err != nil {
		return n, err
	}
	if n, err = s.node(r); err != nil {
		return n, err
	}
	if err := s.makeDirs(n); err != nil {
		return n, err
	}
	if err := s.endRemnants(); err != nil {
		return n, err
	}
	if err := s.engine().Prepare(ctx, n); err != nil {
		return n, err
	}
	return n, s.amend(func(now *record) { now.Started, now.Installation = r.Spec.Generation, r.Installation })
}

// makeDirs makes what the engine finds. Only the directory for its sockets is its own: in one that it
// could write to, it could lead us elsewhere by symbolic links.
func (s *supervisor) makeDirs(n engine.Node) error {
	if err := makeDir(s.k.instanceDir(s.id), throughMode()); err != nil {
		return err
	}
	if err := makeDir(filepath.Dir(n.LogFile), 0o700); err != nil {
		return err
	}
	if err := makeDir(n.RunDir, 0o700); err != nil || n.Account == nil {
		return err
	}
	return os.Lchown(n.RunDir, int(n.Account.UID), int(n.Account.GID))
}

// errAmended ends the wait for an engine, because what is wanted may have become something else.
var errAmended = errors.New("the record has changed")

// awaitService waits until the engine serves clients, as the Spec wants it.
func (s *supervisor) awaitService(ctx context.Context, n engine.Node, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for delay := 2 * time.Millisecond; ; delay = min(delay*5/4, 50*time.Millisecond) {
		err := s.engine().Probe(ctx, n)
		if err == nil {
			break
		}
		select {
		case <-p.Done():
			return s.explain()
		case <-s.wake:
			return errAmended
		case <-ctx.Done():
			return backstay.Wrapf(errors.Join(err, ctx.Err()), backstay.Unavailable, "The engine runs but does not answer.")
		case <-time.After(delay):
		}
	}
	c, ok := s.engine().(engine.Configurer)
	if !ok {
		return nil
	}
	return c.Configure(ctx, n)
}

// reached records that the wanted generation serves, and tells it.
func (s *supervisor) reached(n engine.Node, p *process.Process) error {
	r := s.current()
	if r.Reached != r.Started {
		if err := s.amend(func(r *record) { r.Reached = r.Started }); err != nil {
			return err
		}
	}
	s.report(func(st *backend.Status) {
		st.Generation, st.Phase, st.PID = r.Started, backend.Running, p.PID
		st.Message = fmt.Sprintf("%s %s is running.", r.Spec.Engine, n.Installation.FullVersion)
	})
	return nil
}

// explain tells why the engine ended.
func (s *supervisor) explain() error {
	reason := ""
	if e, ok := s.engine().(engine.Explainer); ok {
		if n, err := s.node(s.current()); err == nil {
			reason = e.Explain(n)
		}
	}
	if reason == "" {
		return backstay.Errorf(backstay.Unavailable, "The engine ended.")
	}
	return backstay.Errorf(backstay.Unavailable, "The engine ended: %s.", reason)
}

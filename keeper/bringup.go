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
	if r.Installation, err = s.k.found.find(ctx, r.Spec.Engine, r.Spec.Version, r.Spec.Build); err != nil {
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
	main, err := s.engine().Command(n)
	if err != nil {
		return n, err
	}
	r.Program = resolved(main.Executable())
	return n, s.amend(func(now *record) {
		now.Started, now.Installation, now.Program = r.Spec.Generation, r.Installation, r.Program
	})
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

// Why the wait for an engine ends before it serves.
var (
	errAmended = errors.New("the record has changed") // what is wanted may be something else now
	errEnded   = errors.New("the engine has ended")
)

// awaitService waits until the engine serves clients, as the Spec wants it.
func (s *supervisor) awaitService(ctx context.Context, n engine.Node, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ctx, interrupt := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { // an engine that hangs holds up whoever asks it
		select {
		case <-p.Done():
			interrupt(errEnded)
		case <-s.wake:
			interrupt(errAmended)
			s.nudge() // the probe may have ended just before: then keep is to hear of it
		case <-ctx.Done():
		}
	})
	err := s.probe(ctx, n)
	interrupt(nil)
	watch.Wait()
	switch cause := context.Cause(ctx); cause {
	case errEnded:
		return s.explain()
	case errAmended:
		return errAmended
	case context.DeadlineExceeded:
		return backstay.Wrapf(errors.Join(err, cause), backstay.Unavailable, "The engine runs but does not answer.")
	}
	return err
}

// probe asks the engine again and again until it serves, and then puts its settings in force.
func (s *supervisor) probe(ctx context.Context, n engine.Node) error {
	for delay := 2 * time.Millisecond; ; delay = min(delay*5/4, 50*time.Millisecond) {
		err := s.engine().Probe(ctx, n)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(delay):
		}
	}
	if c, ok := s.engine().(engine.Configurer); ok {
		return c.Configure(ctx, n)
	}
	return nil
}

// reached records that the wanted generation serves, and tells it.
func (s *supervisor) reached(n engine.Node, p *process.Process) error {
	r := s.current()
	if r.Reached != r.Started {
		if err := s.amend(func(r *record) { r.Reached = r.Started }); err != nil {
			return err
		}
	}
	description := s.describe(n)
	s.report(func(st *backend.Status) {
		st.Generation, st.Phase, st.Message, st.Build = r.Started, backend.Running, description, n.Installation.FullVersion
		st.Obstacle = backend.Obstacle{}
		s.pid = p.PID
	})
	return nil
}

// describe is what users read of a node that serves.
func (s *supervisor) describe(n engine.Node) string {
	if d, ok := s.engine().(engine.Describer); ok {
		return d.Describe(n)
	}
	return fmt.Sprintf("%s %s is running.", s.current().Spec.Engine, n.Installation.FullVersion)
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

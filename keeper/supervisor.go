package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
)

// supervisor keeps one instance as its record says: its goroutine, run, is the only one that starts
// and ends the engine while the keeper keeps.
type supervisor struct {
	k    *Keeper
	id   backstay.InstanceID
	wake chan struct{} // the record has changed
	user chan struct{} // a user was created

	mu      sync.Mutex
	record  record
	status  backend.Status
	pid     int           // of the process that serves, while the status is Running
	changed chan struct{} // closed and replaced when status changes
}

func newSupervisor(k *Keeper, r record) *supervisor {
	s := &supervisor{k: k, id: r.Spec.Instance, wake: make(chan struct{}, 1), user: make(chan struct{}, 1), record: r, changed: make(chan struct{})}
	s.status = backend.Status{
		Instance: s.id, Revision: time.Now().UnixNano(), Generation: r.Reached, Wanted: r.Spec.Generation,
		Phase: backend.Preparing, Message: "The data directory is being prepared.",
	}
	if r.Reached > 0 { // most often it runs, and no user has noticed anything
		s.status.Build = r.Installation.FullVersion
		s.status.Phase, s.status.Message = backend.Starting, "The keeper has been started, and looks for the engine."
	}
	if r.Port != 0 {
		s.status.Endpoint = backstay.Endpoint{Host: k.Host, Port: r.Port}
	}
	return s
}

func (s *supervisor) current() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// process is the pid of what serves, or served last.
func (s *supervisor) process() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// look returns the status, and what is closed when it changes.
func (s *supervisor) look() (backend.Status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.changed
}

// report makes a change of the status known, unless it is none. Revisions are instants, so that they
// grow over restarts of the keeper too.
func (s *supervisor) report(change func(*backend.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.status
	change(&s.status)
	if p := s.status.Phase; p != backend.Removing {
		s.status.Nodes = []backend.NodeStatus{{Name: "1", Role: backend.Primary, Phase: p}}
	}
	if !s.status.Same(before) {
		s.publish(max(before.Revision+1, time.Now().UnixNano()))
	}
}

// surpass makes the revision greater than one that somebody has seen: an earlier keeper gave it,
// before the clock was set back.
func (s *supervisor) surpass(seen int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Revision < seen {
		s.publish(seen + 1)
	}
}

// publish wakes those who wait for a newer status. s.mu is held.
func (s *supervisor) publish(revision int64) {
	s.status.Revision = revision
	close(s.changed)
	s.changed = make(chan struct{})
}

// enter reports a phase in which nobody is served.
func (s *supervisor) enter(p backend.Phase, format string, args ...any) {
	s.report(func(st *backend.Status) { st.Phase, st.Message = p, fmt.Sprintf(format, args...) })
}

// amend changes the record on disk, then in memory.
func (s *supervisor) amend(change func(*record)) error {
	s.mu.Lock()
	r := s.record
	change(&r)
	err := s.k.save(r)
	if err == nil {
		s.record = r
	}
	s.mu.Unlock()
	return err
}

func (s *supervisor) nudge() { signal(s.wake) }

// signal is heard by whoever listens to c next.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// respec makes a newer Spec what is wanted. The one that is held is accepted again.
func (s *supervisor) respec(ctx context.Context, spec backend.Spec) error {
	if err := s.admit(spec); err != nil || spec.Generation == s.current().Spec.Generation {
		return err
	}
	err := step.Run(ctx, step.Step{Name: "keeper.spec-written", Do: func(context.Context) error {
		return s.amend(func(r *record) { r.Spec = spec })
	}})
	if err != nil {
		return err
	}
	s.report(func(st *backend.Status) { st.Wanted, st.Obstacle = spec.Generation, backend.Obstacle{} })
	s.nudge()
	return nil
}

// admit refuses a Spec that may not follow the one that is held.
func (s *supervisor) admit(spec backend.Spec) error {
	r := s.current()
	switch {
	case r.Removing:
		return backstay.Errorf(backstay.Busy, "Instance %s is being removed.", s.id)
	case spec.Generation < r.Spec.Generation:
		return backstay.Errorf(backstay.Busy, "Instance %s is at generation %d already, not %d.", s.id, r.Spec.Generation, spec.Generation)
	case spec.Engine != r.Spec.Engine || spec.Private != r.Spec.Private:
		return backstay.Errorf(backstay.Unsupported, "Instance %s cannot become another engine, or private.", s.id)
	}
	return nil
}

// remove makes it the wish that nothing of the instance is left.
func (s *supervisor) remove(ctx context.Context) error {
	if s.current().Removing {
		return nil
	}
	if err := step.Run(ctx, s.removalWishSteps()...); err != nil {
		return err
	}
	s.enter(backend.Removing, "The service instance is being removed.")
	s.nudge()
	return nil
}

func (s *supervisor) removalWishSteps() []step.Step {
	return []step.Step{{Name: "keeper.removal-written", Do: func(context.Context) error {
		return s.amend(func(r *record) { r.Removing = true })
	}}}
}

// run keeps the instance until ctx ends, which leaves the engine running, or until it is removed.
func (s *supervisor) run(ctx context.Context) {
	var b backoff
	for ctx.Err() == nil {
		if s.current().Removing {
			s.enter(backend.Removing, "The service instance is being removed.")
			err := step.Run(ctx, s.removeSteps()...)
			if err == nil {
				s.k.forget(s.id)
				s.report(func(st *backend.Status) { st.Message = "The service instance is gone." })
				return
			}
			s.k.Log.Error("an instance could not be removed; it is tried again", "instance", s.id, "error", err)
		} else if err := s.keep(ctx, &b); err == nil || errors.Is(err, errAmended) || ctx.Err() != nil {
			continue
		} else {
			s.fail(err, b.peek())
		}
		s.pause(ctx, b.next())
	}
}

// fail tells why the engine does not serve. A first failure is tried again at once, and not worth
// the word.
func (s *supervisor) fail(err error, delay time.Duration) {
	s.k.Log.Warn("an engine does not serve", "instance", s.id, "error", err, "again_in", delay)
	if delay == 0 {
		s.enter(backend.Starting, "%s It is started again.", sentence(err))
		return
	}
	s.report(func(st *backend.Status) {
		st.Phase, st.Message = backend.Failing, sentence(err) // may be the last word on a create that is given up
		if st.Generation < st.Wanted {
			st.Obstacle = backend.Obstacle{Generation: st.Wanted, Sentence: st.Message, Final: delay >= hopeless || isFinal(err)}
		}
	})
}

// hopeless is the pause between tries after which a generation that has never served is not hoped for any more.
const hopeless = 1500 * time.Millisecond

// isFinal tells whether only another Spec can help.
func isFinal(err error) bool {
	kind := backstay.KindOf(err)
	return kind == backstay.Unsupported || kind == backstay.Invalid
}

// sentence is what a user may read of err.
func sentence(err error) string {
	if backstay.KindOf(err) == backstay.Internal {
		return "The engine does not start, for a reason that only the operator's log tells."
	}
	return backstay.SentenceOf(err)
}

// pause waits for d, for a change of the record, or for ctx.
func (s *supervisor) pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wake:
	case <-ctx.Done():
	}
}

// keep brings the engine up, if it is not, and stays with it. It returns nil when the record has
// changed or ctx has ended, and why the engine ended otherwise.
func (s *supervisor) keep(ctx context.Context, b *backoff) error {
	var p *process.Process
	if err := step.Run(ctx, s.bringUpSteps(&p)...); err != nil {
		if p != nil {
			p.Close()
		}
		return err
	}
	defer p.Close()
	up := time.Now()
	stuck, endTending := s.beginTending(ctx)
	defer endTending()
	select {
	case err := <-stuck:
		return errors.Join(err, s.kill(p))
	case <-p.Done():
		if time.Since(up) > time.Minute {
			*b = backoff{}
		}
		return s.explain()
	case <-s.wake:
	case <-ctx.Done():
	}
	return nil
}

// removeSteps end with nothing left of the instance, its record last.
func (s *supervisor) removeSteps() []step.Step {
	return []step.Step{
		{Name: "keeper.stopped", Do: func(context.Context) error { return errors.Join(s.stopNode(), s.endRemnants()) }},
		{Name: "keeper.files-removed", Do: func(context.Context) error {
			return errors.Join(os.RemoveAll(s.k.instanceDir(s.id)), os.RemoveAll(s.k.runDir(s.current())))
		}},
		{Name: "keeper.record-removed", Do: func(context.Context) error { return atomicfile.Remove(s.k.recordPath(s.id)) }},
	}
}

// StepNames lists every step that the keeper takes for an instance: where it may die in the middle.
func StepNames() []string {
	var k *Keeper
	var s *supervisor
	names := step.Names(k.applySteps(record{}))
	names = append(names, step.Names(s.bringUpSteps(nil))...)
	names = append(names, step.Names(s.removalWishSteps())...)
	return append(names, step.Names(s.removeSteps())...)
}

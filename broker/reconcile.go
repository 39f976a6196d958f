package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
)

// reconcilePause is the time between two looks at all instances: long enough for thousands of them, short enough
// for someone who waits for one whose record was lost.
const reconcilePause = 2 * time.Second

// Run keeps the backends true to the ledger, does what is due in maintenance windows, and has backed up what is to be,
// until ctx ends; it then returns ctx's error.
func (b *Broker) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { b.regularly(ctx, reconcilePause, b.Reconcile) })
	all.Go(func() { b.regularly(ctx, maintenancePause, b.keepWindows()) })
	all.Go(func() { b.regularly(ctx, archivePause, b.ForgetExpired) })
	all.Go(func() { b.regularly(ctx, maintenancePause, b.keepPrices()) })
	all.Go(func() { b.begin(ctx, b.BeginBackups) })
	all.Wait()
	return ctx.Err()
}

// begin does something as soon as it can be done, until ctx ends.
func (b *Broker) begin(ctx context.Context, do func(context.Context) error) {
	for {
		err := do(ctx)
		if err == nil || wait.Pause(ctx, maintenancePause) != nil {
			return
		}
		if backstay.KindOf(err) != backstay.Busy {
			b.Log.Warn("not all instances could be looked after", "error", err)
		}
	}
}

// archivePause is the time between two looks at what is kept of deleted instances.
const archivePause = time.Hour

// regularly looks at once, and again after each pause, until ctx ends.
func (b *Broker) regularly(ctx context.Context, pause time.Duration, look func(context.Context) error) {
	for {
		if err := look(ctx); err != nil && ctx.Err() == nil {
			b.Log.Warn("not all instances could be looked after", "error", err)
		}
		if wait.Pause(ctx, pause) != nil {
			return
		}
	}
}

// Reconcile compares every instance that no operation is at work on with what its backend has a record of, and
// mends what differs: a record that is lost is made anew from what was accepted; what was never accepted, or is
// condemned, is removed; where an instance serves, and as which build, is noted in the ledger.
func (b *Broker) Reconcile(ctx context.Context) error {
	defer b.absences.forget()
	entries, err := b.Store.Entries(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for name, its := range b.Backends {
		held, err := its.Held(ctx)
		if err != nil {
			failures = append(failures, fmt.Errorf("ask backend %s: %w", name, err))
			continue
		}
		for _, e := range entries {
			if e.Backend != name || e.agrees(held) {
				continue
			}
			if err := b.reconcileInstance(ctx, e.ID); err != nil && backstay.KindOf(err) != backstay.Busy {
				failures = append(failures, fmt.Errorf("instance %s: %w", e.ID, err))
			}
		}
	}
	return errors.Join(append(failures, b.bringBack(ctx, entries))...)
}

// agrees tells whether a backend that holds these generations has of the instance what the ledger says.
func (e Entry) agrees(held map[backstay.InstanceID]int64) bool {
	generation, known := held[e.ID]
	if e.Generation == 0 {
		return !known
	}
	return generation == e.Generation && e.Endpoint != backstay.Endpoint{} && e.Build != ""
}

// reconcileInstance makes what one instance's backend has of it what the ledger says. It is Busy while somebody
// is at work on the instance, who will do the same.
func (b *Broker) reconcileInstance(ctx context.Context, id backstay.InstanceID) error {
	release, free := b.turns.try(id)
	if !free {
		return errBusy(id)
	}
	defer release()
	in, err := b.Store.Instance(ctx, id)
	if err != nil {
		return absentIsFine(err)
	}
	if in.Busy {
		return errBusy(id)
	}
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	if in.Spec == nil {
		return absentIsFine(its.Remove(ctx, id)) // nobody waits for it
	}
	held, err := its.Held(ctx)
	if err != nil {
		return err
	}
	switch generation, known := held[id]; {
	case !known:
		b.Log.Warn("a backend has no record of an instance: it is made anew", "instance", id, "backend", in.Backend,
			"from_its_backups", b.Restoration.lasts())
		return b.applyAccepted(ctx, in)
	case generation > in.Generation: // the ledger is of an earlier day, as after its restoration
		b.Log.Warn("a backend is ahead of the ledger, which holds", "instance", id, "backend", in.Backend)
		if in.Generation, err = b.Store.RaiseGeneration(ctx, id, generation); err != nil {
			return err
		}
		return b.applyAccepted(ctx, in)
	case generation < in.Generation:
		return b.applyAccepted(ctx, in)
	}
	return b.noteServing(ctx, its, in)
}

// isBackedUp tells whether there may be backups of an instance.
func (b *Broker) isBackedUp(in Instance) bool {
	spec, err := b.openSpec(in.ID, in.Spec)
	return err == nil && spec.Backup != nil
}

// noteServing records where an instance serves, and as which build, if it is seen to.
func (b *Broker) noteServing(ctx context.Context, its backend.Backend, in Instance) error {
	s, err := its.Await(ctx, in.ID, 0)
	if err != nil || s.Phase != backend.Running || s.Endpoint == (backstay.Endpoint{}) {
		return err
	}
	return b.Store.NoteServing(ctx, in.ID, servingAs(s))
}

// ensureRecord returns when the backend has a record of an instance that has served. Without one it could not
// tell a user that is to go from one that never was.
func (b *Broker) ensureRecord(ctx context.Context, its backend.Backend, in Instance) error {
	_, err := its.Await(ctx, in.ID, 0)
	if err == nil || in.Spec == nil {
		return absentIsFine(err)
	}
	return b.reconcileInstance(ctx, in.ID)
}

// Unhealthy tells which instances do not serve, and why: those that their backends say so of, and those that no
// backend knew of when all instances were last looked at.
func (b *Broker) Unhealthy(ctx context.Context) (map[backstay.InstanceID]string, error) {
	reasons, err := b.absences.get(ctx, b)
	failures := []error{err}
	for name, its := range b.Backends {
		unwell, err := its.Unwell(ctx)
		if err != nil {
			failures = append(failures, fmt.Errorf("ask backend %s: %w", name, err))
		}
		for _, s := range unwell {
			switch { // one that runs serves as it did before it was to change, or has troubles
			case s.Phase == backend.Failing && s.Obstacle.Sentence == s.Message && s.Obstacle.Generation <= s.Generation:
				reasons[s.Instance] = s.Message // it had served, and nothing starts it before somebody has done something
			case s.Phase == backend.Failing:
				reasons[s.Instance] = "It is started again and again. " + s.Message
			case s.Phase != backend.Running && (s.IsDown(b.Now()) || b.Restoration.lasts()):
				reasons[s.Instance] = s.Message
			}
		}
	}
	return reasons, errors.Join(failures...)
}

// absences remembers for a moment which instances no backend knows of. To find that out takes a look at the whole
// ledger, which may be long, and users ask far more often than it changes.
type absences struct {
	mu      sync.Mutex
	looked  time.Time
	reasons map[backstay.InstanceID]string
}

// get returns a copy of what is remembered, after a look where that is too old.
func (a *absences) get(ctx context.Context, b *Broker) (map[backstay.InstanceID]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since := b.Now().Sub(a.looked); since >= 0 && since < reconcilePause {
		return maps.Clone(a.reasons), nil
	}
	reasons, err := b.absent(ctx)
	if err == nil {
		a.looked, a.reasons = b.Now(), reasons
	}
	return maps.Clone(reasons), err
}

// forget has the next get look anew.
func (a *absences) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looked = time.Time{}
}

// absent tells of which instances there is nothing where it should be. Nothing is said of what lives in a backend
// that does not answer.
func (b *Broker) absent(ctx context.Context) (map[backstay.InstanceID]string, error) {
	reasons := map[backstay.InstanceID]string{}
	entries, err := b.Store.Entries(ctx)
	if err != nil {
		return reasons, err
	}
	held := map[string]map[backstay.InstanceID]int64{}
	var failures []error
	for name, its := range b.Backends {
		if held[name], err = its.Held(ctx); err != nil {
			failures = append(failures, fmt.Errorf("ask backend %s: %w", name, err))
		}
	}
	for _, e := range entries {
		if reason := b.absence(e, held[e.Backend]); reason != "" {
			reasons[e.ID] = reason
		}
	}
	return reasons, errors.Join(failures...)
}

// absence tells why there is nothing of an instance that has been accepted where it should be; it is empty if
// there is, or if that is not known.
func (b *Broker) absence(e Entry, held map[backstay.InstanceID]int64) string {
	_, reached := b.Backends[e.Backend]
	_, known := held[e.ID]
	switch {
	case e.Generation == 0:
		return ""
	case !reached:
		return fmt.Sprintf("It lives in %q, which this Backstay does not reach.", e.Backend)
	case held != nil && !known:
		return "Its record has been lost, and is made anew."
	}
	return ""
}

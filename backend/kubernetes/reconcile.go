package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// How long a reconciler pauses, unless something that is watched wakes it.
const (
	calm   = 5 * time.Second        // of an instance that is as wanted
	tight  = 250 * time.Millisecond // while only the server itself can tell how far it is
	remote = 2 * time.Second        // while Kubernetes is to tell
	// workEvery is how often it is told that data is being brought.
	workEvery = 30 * time.Second
)

// run makes true what the record says until the instance is gone, or ctx ends.
func (in *instance) run(ctx context.Context) {
	in.resumeDrill(ctx)
	defer func() { in.drill.End() }()
	for ctx.Err() == nil {
		pause := in.pass(ctx)
		if _, known := in.known(); !known {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-in.awake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pass looks at everything once, does what is to be done next, and says how it stands.
func (in *instance) pass(ctx context.Context) (pause time.Duration) {
	in.follow(ctx)
	r, known := in.known()
	switch {
	case !known:
		return 0
	case r.Removing:
		return in.dismantle(ctx, r)
	}
	if pause, more := in.bring(ctx, r); more {
		return pause
	}
	s := in.situation(r)
	s.described = in.b.described(r)
	w, err := in.b.wishFor(r, r.Spec)
	if err == nil && r.Reached != nil {
		err = in.b.changeable(r, r.Spec, true) // whether it may grow was asked before
	}
	if isFinal(err) {
		s.obstacle = obstacle(r.Spec, err)
		if r.Reached != nil {
			w, err = in.b.wishFor(r, *r.Reached)
		}
	}
	s.wish = w
	if err == nil {
		var saved bool
		if saved, err = in.planRaise(ctx, &s); saved {
			return 0
		}
	}
	if err == nil && r.givenUp() {
		s.obstacle = backend.Obstacle{Generation: r.Spec.Generation, Sentence: r.Lacks.Why, Final: true}
		s.wish, err = in.b.wishFor(r, *r.Reached)
	}
	if err != nil {
		s.obstacle = obstacle(r.Spec, err)
		in.tell(s.status())
		return calm
	}
	return in.pursue(ctx, s)
}

// described is what users read of an instance that serves.
func (c *Config) described(r record) string {
	if d, ok := c.Engines[r.Spec.Engine].(engine.Describer); ok {
		return d.Describe(engine.Node{Instance: r.Spec.Instance})
	}
	return "The service instance is available."
}

func obstacle(s backend.Spec, err error) backend.Obstacle {
	return backend.Obstacle{Generation: s.Generation, Sentence: backstay.SentenceOf(err), Final: isFinal(err)}
}

// pursue brings an instance closer to its wish.
func (in *instance) pursue(ctx context.Context, s situation) time.Duration {
	s.view = in.b.view(in.id)
	if s.record.brings() && s.view.Jobs.works {
		s.worked = in.b.Now().UTC().Truncate(workEvery)
	}
	if s.record.brings() && s.view.Primary == "" {
		s.deprived = in.b.askFor(ctx, *s.record.Bring)
	}
	if s.view.Exists && !s.view.Gone { // before anything is changed: what is to end has to be known
		s.seen = in.see(ctx, s)
	} else {
		s.seen = sight{err: backstay.Errorf(backstay.Unavailable, "The service instance is being prepared.")}
	}
	if saved, err := in.watchRaise(ctx, s); saved || err != nil {
		return in.waiting(s, err)
	}
	if saved, err := in.watchImage(ctx, s); saved || err != nil {
		return in.waiting(s, err)
	}
	if saved, err := in.prepare(ctx, s); saved || err != nil {
		return in.waiting(s, err)
	}
	if err := in.put(ctx, s); err != nil {
		if s.obstacle.Sentence == "" {
			s.obstacle = obstacle(s.record.Spec, err) // what was reached before is made so again
			s.obstacle.Final = s.obstacle.Final && !s.record.hasReached(s.record.Spec.Generation)
		}
		in.tell(s.status())
		return remote
	}
	if s.obstacle.Sentence == "" && s.lacks() != "" { // what is watched says nothing of its own silence
		if _, err := in.b.get(ctx, clusters, nameOf(in.id)); err != nil {
			s.obstacle = obstacle(s.record.Spec, err)
		}
	}
	return in.conclude(ctx, s)
}

// waiting is the pause before what was noted is acted on, or before it is tried again to note it.
func (in *instance) waiting(s situation, err error) time.Duration {
	if err == nil {
		return 0
	}
	in.b.Log.Warn("what an instance is to become cannot be noted", "instance", in.id, "error", err)
	in.tell(s.status())
	return remote
}

// prepare notes, before a restart or a failover that is owed, what will have ended when it has come true.
func (in *instance) prepare(ctx context.Context, s situation) (saved bool, err error) {
	r := s.record
	if !s.holds() {
		return false, nil
	}
	if saved, err := in.startDrill(ctx, s); saved || err != nil {
		return saved, err
	}
	if r.Restarts.Owed && !r.Restarts.Noted {
		return in.change(ctx, r, func(r record) record {
			r.Restarts.Noted, r.Restarts.Since = true, s.startedBefore(in.b.Now())
			return r
		})
	}
	if r.Handed.Owed && r.Handed.From == "" && s.heir() != "" {
		return in.change(ctx, r, func(r record) record {
			r.Handed.From, r.Handed.Since = s.view.Primary, in.b.Now().UTC()
			return r
		})
	}
	return false, nil
}

// startedBefore is when the server has started that a restart is to end. One that does not answer has done so by now.
func (s situation) startedBefore(now time.Time) time.Time {
	if s.seen.err != nil {
		return now.UTC()
	}
	return s.seen.observation.Started
}

// heir is a node that lacks nothing of what the primary has; empty: there is none.
func (s situation) heir() string {
	if s.seen.err != nil || !s.seen.observation.Protected {
		return ""
	}
	for _, p := range s.view.Nodes {
		if p.Ready && p.Name != s.view.Primary && s.seen.observation.HasInStep(p.Name) {
			return p.Name
		}
	}
	return ""
}

// put applies what differs from the wish, and has another node take over where that is owed.
func (in *instance) put(ctx context.Context, s situation) error {
	if err := in.b.synced(); err != nil {
		return err
	}
	ours := in.b.views[secrets].of(nameOf(in.id))
	if named(ours, recordName(in.id)) == nil { // somebody has deleted it, or it has just been made
		if _, err := in.change(ctx, s.record, func(r record) record { return r }); err != nil {
			return err
		}
	}
	if s.mustExist() && s.view.isBare() {
		if err := in.lost(ctx, s.record); err != nil {
			return err
		}
	}
	for _, o := range s.wish.objects() {
		there := named(in.b.views[kinds[o.GetKind()]].of(nameOf(in.id)), o.GetName())
		if !drifted(there, o) || !in.mayPut(o) {
			continue
		}
		whole := o
		if o.GetKind() == "Cluster" && s.mustExist() {
			if there == nil {
				return in.lost(ctx, s.record)
			}
			o = only(o, there)
		}
		err := in.b.apply(ctx, o, false)
		if errors.Is(err, errTaken) && s.record.Reached == nil && !s.record.Served {
			err = in.move(ctx, s.record)
		}
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		in.notePut(whole, there)
	}
	asked := s.record.Handed.Owed && s.record.Handed.From == s.view.Primary && s.view.Target == s.view.Primary
	if heir := s.heir(); asked && heir != "" {
		return in.b.handOver(ctx, in.id, heir, in.b.Now())
	}
	return nil
}

// move gives an instance another port, as long as nobody was told of the one that it has.
func (in *instance) move(ctx context.Context, r record) error {
	in.b.ports.Lock()
	defer in.b.ports.Unlock()
	in.b.avoided[r.Port] = true
	free, err := in.b.nextPort()
	if err != nil {
		return err
	}
	_, err = in.change(ctx, r, func(r record) record {
		r.Port = free
		return r
	})
	in.wake()
	return err
}

// conclude notes what was reached, and tells how it stands.
func (in *instance) conclude(ctx context.Context, s situation) time.Duration {
	s.protected, s.silent = in.guarded(s), in.quiet(s)
	lacking := s.lacks()
	moved := s.seen.err == nil && s.view.Primary != s.record.Primary && s.record.Primary != ""
	var err error
	switch {
	case s.holds() && !s.record.hasReached(s.record.Spec.Generation) && lacking == "":
		_, err = in.change(ctx, s.record, func(r record) record {
			s.record = r
			s.record = s.reached(in.b.Now().UTC())
			return s.record
		})
	case moved:
		_, err = in.change(ctx, s.record, func(r record) record {
			s.record = s.noted(r, in.b.Now().UTC())
			return s.record
		})
	}
	if err != nil {
		in.b.Log.Warn("what an instance has reached cannot be noted", "instance", in.id, "error", err)
		return remote
	}
	if current, known := in.known(); !known || current.Removing || current.Spec.Generation != s.record.Spec.Generation {
		return 0
	}
	switch {
	case s.obstacle.Sentence != "":
	case s.seen.unfit != nil: // what serves goes on, and it is tried again
		s.obstacle = obstacle(s.record.Spec, s.seen.unfit)
		s.obstacle.Final = false
	case s.record.Reached == nil && isFinal(s.seen.err):
		s.obstacle = obstacle(s.record.Spec, s.seen.err)
	}
	in.tell(s.status())
	in.concludeDrill(ctx)
	if s.seen.err == nil && s.record.Reached != nil {
		in.refresh(s.record, s.wish)
	}
	switch {
	case s.record.Reached != nil && lacking == "":
		return calm
	case s.seen.err == nil || s.view.Ready || s.view.Primary != "":
		return tight
	}
	return remote
}

// guarded is since when the standby is known to lack nothing.
func (in *instance) guarded(s situation) time.Time {
	switch {
	case s.seen.err != nil || !s.seen.observation.Protected:
		in.protected = time.Time{}
	case in.protected.IsZero():
		in.protected = in.b.Now().UTC()
	}
	return in.protected
}

// quiet is since when the instance had not answered when it was last asked; zero: it had.
func (in *instance) quiet(s situation) time.Time {
	since := in.silent
	switch {
	case s.seen.err == nil:
		in.silent = time.Time{}
	case since.IsZero():
		in.silent = in.b.Now().UTC()
		since = in.silent
	}
	return since
}

// see connects as the administrator, and does what comes before an instance serves, once for each server and each wish.
func (in *instance) see(ctx context.Context, s situation) (seen sight) {
	if s.view.Primary == "" {
		return sight{err: backstay.Errorf(backstay.Unavailable, "The service instance is being prepared.")}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerLimit)
	defer cancel()
	n, way := in.into(s.record, s.wish)
	e := in.b.Engines[s.wish.spec.Engine]
	if seen.observation, seen.err = way.engine.Observe(ctx, n); seen.err != nil {
		in.kept.doubt()
		return seen
	}
	seen.proved = way.proved(s.wish.spec.TLS)
	if r := s.record; r.shut() || r.at(opening) {
		seen.err = in.attendRaise(ctx, s, n, seen)
		return seen
	}
	key := fmt.Sprint(seen.observation.Started, s.view.Primary, s.wish.spec.Generation, s.record.Drops)
	if in.configured != key {
		switch err := in.furnish(ctx, s, n, way.engine); {
		case err == nil:
			in.configured = key
		case s.record.Reached == nil || len(s.record.Drops) > 0 || s.record.brings():
			seen.err = err
			return seen
		default:
			seen.unfit = err
		}
	}
	if s.record.brings() {
		if seen.err = in.finish(ctx, s.record, s.wish.image, n); seen.err == nil {
			seen.err = errBringing
		}
		return seen
	}
	if s.seen = seen; s.opens() {
		seen.err = errBringing
		return seen
	}
	if tender, ok := e.(engine.Tender); ok {
		now, mended, err := tender.Tend(ctx, n, in.tended)
		if in.tended = now; len(mended) > 0 {
			in.b.Log.Warn("users have changed what they must not: it is as before", "instance", in.id, "users", mended)
		}
		if err != nil {
			seen.err = err
			return seen
		}
	}
	seen.err = e.Probe(ctx, n)
	return seen
}

// furnish makes what bindings find in a server, and drops the users that are owed that.
func (in *instance) furnish(ctx context.Context, s situation, n engine.Node, hosted engine.Hosted) error {
	e := in.b.Engines[s.wish.spec.Engine]
	if err := hosted.Establish(ctx, n); err != nil {
		return err
	}
	if c, ok := e.(engine.Configurer); ok {
		if err := c.Configure(ctx, n); err != nil {
			return err
		}
	}
	dropped := s.record.Drops
	for _, name := range dropped {
		if err := e.DropUser(ctx, n, name); err != nil {
			return err
		}
	}
	if len(dropped) == 0 {
		return nil
	}
	if err := in.catchUpReaders(ctx, s.record); err != nil {
		return err
	}
	_, err := in.change(ctx, s.record, func(r record) record { return r.without(dropped) })
	return err
}

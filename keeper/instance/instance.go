package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/drill"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// Instance keeps one instance as its record says. Its goroutine, Run, is the only one that starts and ends
// the engine while the keeper keeps; all other methods are for any goroutine.
type Instance struct {
	ID  backstay.InstanceID
	m   *Machine
	log *slog.Logger

	write sync.Mutex // whoever changes the record holds it, over the fsync

	reports sync.Mutex // whoever changes the status holds it, from its first look to the end

	mu      sync.Mutex // held for moments only: what asks for the status must not wait for the disk
	record  Record
	status  backend.Status
	phase   backend.Phase      // that it would tell if it were not being removed
	parting string             // what is told of one that is being removed
	pid     int                // of the process, if one is there
	second  backend.NodeStatus // nameless: there is none
	readers []string           // the nodes that serve reads at the address for them; empty: none, or it is not known
	usage   volume.Usage       // how full its volume was when that was last seen
	changed chan struct{}      // closed and replaced when the status changes
	wished  chan struct{}      // closed and replaced when the wish changes

	userMade chan struct{} // told when a user was created
	guarded  guard
	// unmirrored is how often users were made or dropped that the second could not be told of.
	unmirrored atomic.Int64
	strangers  strangers             // of the second
	routing    sync.Mutex            // whoever tells the reading front where reads go holds it
	told       atomic.Pointer[route] // what it was told last, by this keeper
	woken      chan struct{}         // told when Run is to look what is to be done

	followers []*follower         // one for each replica that there may be
	copying   *semaphore.Weighted // whoever copies the primary's data has it

	backedUp atomic.Int64 // the generation for which a backup was taken before the instance returns to an earlier moment

	access map[Place]*access // to the disks that its nodes lie on

	seen sight // Run's alone
}

// sight is what Run has seen of the world.
type sight struct {
	looked, lived, awaited, answers, serves, stopped, busy bool

	asked, probed, silent, mute, up time.Time // probed is when the engine itself was last asked

	process *process.Process // nil: there is none
	node    node.Node        // that the process is
	leave   func()           // ends what is done for a node that serves
	stuck   <-chan error     // tells why the process must be killed, while it serves
	filled  <-chan error     // and why it must for its volume

	restoring *restoring    // data that is being restored; nil: none is
	drill     *drill.Course // who writes in a drill; nil: nobody does
	second    secondSight
	front     *process.Process // nil: it was not looked for, or has ended
	reading   readingSight

	restart int64     // the generation that was found to take a restart of the process; 0: none
	found   time.Time // when that was found

	volume backstay.Bytes // the size that the volume was given; 0: it is not known to be mounted

	killed, denied toll // of processes for want of memory; of starts of processes, as there were too many
	met            toll // of its own limit on memory
	fell           fall

	laid string // the version of the data in use; empty: there is none, or the engine does not tell

	wanted        int64 // the generation that all below is about
	checked       int64
	failures      int
	failed, retry time.Time // when it failed first, and when it is tried again
	ended         string    // why the node that served last has, a sentence; empty: it serves, or it was not seen
	missing       time.Time // since when its data is missing
	damaged       time.Time // since when the process answers that its data is damaged; zero: it does not
	ruined        bool      // it was ended for that, and none was started since
	logged        string    // the failure that the log tells of
}

// New returns an instance that Run has not begun to keep.
func New(m *Machine, r Record) *Instance {
	in := &Instance{
		ID: r.Spec.Instance, m: m, log: m.Log.With("instance", r.Spec.Instance), record: r, status: newStatus(m, r),
		changed: make(chan struct{}), wished: make(chan struct{}), userMade: make(chan struct{}, 1),
		copying: semaphore.NewWeighted(1), woken: make(chan struct{}, 1), access: newAccess(),
		seen: sight{leave: func() {}}, parting: "The service instance is being removed.",
	}
	if r.Apart != nil {
		m.Disks.At(r.Apart.Dir) // is known from now on
	}
	in.phase = in.status.Phase
	in.strangers.add(true) // of whom this keeper does not know
	in.followers = newFollowers(in)
	if r.Full {
		in.guarded.fill = full
	}
	if r.Removing {
		in.status.Phase, in.status.Message = backend.Removing, in.parting
	}
	return in
}

// Record is what is on the disk of the instance.
func (in *Instance) Record() Record {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.record
}

// amend changes the record on disk, then in memory. in.write is held.
func (in *Instance) amend(change func(*Record)) error {
	r := in.Record()
	r.Drops, r.Gone, r.Replicas = slices.Clone(r.Drops), slices.Clone(r.Gone), slices.Clone(r.Replicas)
	change(&r)
	if err := in.m.Records.Save(r); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	before := in.record
	in.record = r
	if before.wish() != r.wish() {
		close(in.wished)
		in.wished = make(chan struct{})
	}
	return nil
}

func (in *Instance) amendAlone(change func(*Record)) error {
	in.write.Lock()
	defer in.write.Unlock()
	return in.amend(change)
}

// wish is what is wanted by the record. An instance that owes a last copy is kept until that is made.
func (r Record) wish() wish { return wish{r.Spec.Generation, r.Removing && !r.owesCopy()} }

// errAnotherWish ends what was begun for a wish that is not the one any more.
var errAnotherWish = errors.New("something else is wanted by now")

// while returns a context that ends, with errAnotherWish as its cause, as soon as the wish is another one.
func (in *Instance) while(ctx context.Context, w wish) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			in.mu.Lock()
			now, changed := in.record.wish(), in.wished
			in.mu.Unlock()
			if now != w {
				cancel(errAnotherWish)
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Admit refuses a Spec that may not follow the one that is held.
func (in *Instance) Admit(spec backend.Spec) error {
	r := in.Record()
	switch {
	case r.Removing:
		return backstay.Errorf(backstay.Busy, "Instance %s is being removed.", in.ID)
	case spec.Generation < r.Spec.Generation:
		return backstay.Errorf(backstay.Busy, "Instance %s is at generation %d already, not %d.",
			in.ID, r.Spec.Generation, spec.Generation)
	case spec.Engine != r.Spec.Engine || spec.Private != r.Spec.Private:
		return backstay.Errorf(backstay.Unsupported, "Instance %s cannot become another engine, or private.", in.ID)
	}
	return nil
}

// ErrNodeGone is that of a Spec for which an instance had all nodes when the caller has looked, and has not any more.
var ErrNodeGone error = backstay.Errorf(backstay.Unavailable, "A node of before has just been removed. Try again.")

// Apply makes a newer Spec what is wanted. The one that is held is accepted again. Allotted is what the instance lacks
// for that; nil: nothing.
func (in *Instance) Apply(ctx context.Context, spec backend.Spec, allotted *Allotment) error {
	in.write.Lock()
	defer in.write.Unlock()
	if err := in.Admit(spec); err != nil || spec.Generation == in.Record().Spec.Generation {
		return err
	}
	after := in.Record()
	if after.Allot(allotted); after.Lacks(spec) {
		return ErrNodeGone
	}
	spec.Served = nil
	err := step.Run(ctx, step.Step{Name: specWritten, Do: func(context.Context) error {
		return in.amend(func(r *Record) {
			r.want(spec)
			r.Allot(allotted)
		})
	}})
	if err == nil {
		in.report(func(st *backend.Status) { st.Wanted, st.Obstacle = spec.Generation, backend.Obstacle{} })
	}
	return err
}

// Remove makes it the wish that nothing of the instance is left.
func (in *Instance) Remove(ctx context.Context) error {
	in.write.Lock()
	defer in.write.Unlock()
	if in.Record().Removing {
		return nil
	}
	err := step.Run(ctx, step.Step{Name: removalWritten, Do: func(context.Context) error {
		return in.amend(func(r *Record) { r.Removing = true })
	}})
	if err == nil {
		in.report(func(*backend.Status) {})
	}
	return err
}

// Run keeps the instance until ctx ends, which leaves the engine running, or until nothing is left of it.
func (in *Instance) Run(ctx context.Context) (gone bool) {
	defer func() {
		in.dismissReplicas()
		in.seen.leave()
		in.seen.restoring.end()
		in.seen.second.making.end()
		in.seen.drill.End()
		in.loseFront()
		in.loseReadFront()
		if p := in.seen.second.process; p != nil {
			p.Close()
		}
		if in.seen.process != nil {
			in.seen.process.Close()
		}
	}()
	in.resumeDrill(ctx)
	for ctx.Err() == nil {
		in.endRestore()
		in.endMaking()
		in.seen.second.endCatchUp(in.log)
		in.keepReplicas(ctx)
		v := in.view()
		in.noteSecond(v.second)
		next := decide(v, in.m.Now())
		err := in.carryOut(ctx, v.wish, next)
		switch {
		case err == nil && next.verb == toRemove:
			return true
		case err != nil && ctx.Err() == nil && !errors.Is(err, errAnotherWish):
			in.fail(next, err)
		}
	}
	return false
}

// Farewell wakes those who wait for the end of an instance that is gone, once nobody can find it any more.
func (in *Instance) Farewell() {
	in.Tell("The service instance is gone.")
}

// view is what decide may know at this moment.
func (in *Instance) view() view {
	r, s := in.Record(), &in.seen
	if s.wanted != r.Spec.Generation { // what has failed was another one
		s.wanted, s.failures, s.retry = r.Spec.Generation, 0, time.Time{}
	}
	v := view{
		wish: r.wish(), started: r.Started, reached: r.Reached, obstacle: r.Obstacle,
		owed: len(r.Drops) > 0, gone: len(r.Gone) > 0,
		sized:  s.volume == in.volumeSize(),
		looked: s.looked, alive: s.process != nil, lived: s.lived, awaited: s.awaited, answers: s.answers,
		serves: s.serves, asked: s.asked, silent: s.silent, mute: s.mute, stopped: s.stopped, busy: s.busy,
		checked: s.checked, restart: s.restart, found: s.found, retry: s.retry,
	}
	v.fronted, v.misled, v.missing = s.front != nil, in.isMisled(r), s.missing
	v.doubted = in.doubtedUntil(r.Place)
	v.restoring, v.failed, v.second = s.restoring.isUnderWay(), s.failures > 1 || s.ruined, in.viewSecond(r)
	v.damaged = s.damaged
	v.way = r.way(r.Spec.Generation, s.laid)
	if r.Before != nil {
		v.before = r.Before.Generation
		v.wayBack = r.way(v.before, s.laid)
	}
	if r.Kept != nil {
		v.kept = r.Kept.Since
	}
	v.second.later, v.second.stays = hasSeveral(r.spec(v.target())), r.keepsPair(v.target(), s.laid)
	return v
}

// Stop ends the instance's processes, and tells whether there were any. Run does not run.
func (in *Instance) Stop() (stopped bool, err error) {
	r := in.Record()
	n, err := in.m.node(r, r.spec(r.Started))
	if err != nil {
		return false, err
	}
	stopped, err = n.Stop()
	_, errSecond := in.stopSecond() // last: what the primary does at its end reaches it
	err = errors.Join(err, n.Abandon(), errSecond, in.stopReplicas(), in.closeFront(), in.endReadFront())
	if err != nil {
		return stopped, fmt.Errorf("stop instance %s: %w", in.ID, err)
	}
	if err := in.m.Groups.Remove(string(r.Home())); err != nil {
		in.log.Warn("the group of an engine that has ended is left", "error", err)
	}
	return stopped, nil
}

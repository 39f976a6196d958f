package instance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
)

// guard is what is known of how full the instance is, and of the node that refuses what clients write for that. Of it,
// the record remembers that it is full: another keeper refuses what clients write before it has looked, and until there
// is as much room again as this one would wait for. All else is seen anew.
type guard struct {
	configuring sync.Mutex // held while the node's configuration is written
	node        node.Node  // as it is configured

	mu    sync.Mutex
	fill  fill           // as it was found last
	extra backstay.Bytes // that the volume is to be larger by, for the recovery of an engine
	given backstay.Bytes // and is
}

// isFull tells whether what clients write is to be refused.
func (g *guard) isFull() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fill >= full
}

// look says how full the instance is with that room.
func (g *guard) look(r room) (before, now fill) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, g.fill = g.fill, r.next(g.fill)
	if g.fill < full {
		g.extra = 0
	}
	return before, g.fill
}

// configure has a configuration of the node written, which refuses what clients write if the instance is full. Nobody
// else writes one meanwhile, and what is refused later is so with this one.
func (g *guard) configure(n node.Node, write func(engine.Node) error) error {
	g.configuring.Lock()
	defer g.configuring.Unlock()
	n.Full = g.isFull()
	g.node = n
	return write(n.Node)
}

// refusalPatience is how long an engine may take to refuse, or not to refuse any more.
const refusalPatience = 20 * time.Second

// How often the engine is asked again to refuse: what has begun before may still go on.
const (
	refuseEvery    = time.Second
	interruptEvery = 100 * time.Millisecond
)

// refusal is what an engine was last asked to refuse.
type refusal struct {
	writes engine.Writes
	done   bool // and does
	at     time.Time
}

// due tells whether the engine is to be asked.
func (f refusal) due(w engine.Writes, now time.Time) bool {
	switch since := now.Sub(f.at); {
	case w != f.writes:
		return true
	case w == engine.NoWrites:
		return since >= interruptEvery
	case !f.done || w == engine.FewWrites:
		return since >= refuseEvery
	}
	return false
}

// writes says what clients of an instance that is so full may write.
func (f fill) writes() engine.Writes {
	switch f {
	case full:
		return engine.FewWrites
	case spent:
		return engine.NoWrites
	}
	return engine.AnyWrites
}

// guard keeps clients from using up the volume of a node that serves, until end is called or ctx ends. Why the node
// must be killed, if it must, comes by stuck.
func (in *Instance) guard(ctx context.Context) (stuck <-chan error, end func()) {
	n := in.seen.node
	in.guarded.configuring.Lock()
	in.guarded.node = n
	in.guarded.configuring.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	reasons := make(chan error, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		last := refusal{writes: engine.AnyWrites, done: !n.Found && !n.Full}
		if n.Full {
			last.writes = engine.FewWrites
		}
		pause := time.Duration(0)
		for wait.Pause(ctx, pause) == nil {
			var err error
			if pause, err = in.watchRoom(ctx, &last); errors.Is(err, engine.ErrStuck) {
				reasons <- err
				return
			}
		}
	})
	return reasons, func() { cancel(); watching.Wait() }
}

// watchRoom looks how full the instance is, does what is to be done about it, and returns when to look again.
func (in *Instance) watchRoom(ctx context.Context, last *refusal) (pause time.Duration, err error) {
	r, known := in.room()
	now := roomy
	pause = mostPause
	switch {
	case known:
		now = in.judge(r)
		in.lendServing(r)
		pause = r.pause(now)
	case in.Record().storage() == 0:
		now = in.forget()
	default:
		return mostPause, nil
	}
	if w := now.writes(); last.due(w, in.m.Now()) {
		*last, err = in.refuse(ctx, w, *last)
	}
	return pause, err
}

// judge says how full the instance is, and tells it.
func (in *Instance) judge(r room) fill {
	before, now := in.guarded.look(r)
	in.remember(now >= full)
	if before != now && max(before, now) >= full {
		in.log.Warn("how full a volume is says what its clients may write", "writes", now.writes(), "left", r.left(),
			"free", r.free, "held", r.held)
	}
	making := ""
	if refuser, ok := in.m.Engines[in.Record().Spec.Engine].(engine.Refuser); ok {
		making = refuser.MakingRoom(in.Record().Installation)
	}
	storage, readOnly := r.told(now, making)
	in.complain(storageTrouble, storage)
	in.complain(readOnlyTrouble, readOnly)
	return now
}

// remember has the record say whether the instance is full. Where it cannot be written, that is tried at the next look:
// whoever writes another one may wait for the end of the guard.
func (in *Instance) remember(isFull bool) {
	if in.Record().Full == isFull || !in.write.TryLock() {
		return
	}
	defer in.write.Unlock()
	if in.Record().Removing {
		return
	}
	if err := in.amend(func(r *Record) { r.Full = isFull }); err != nil {
		in.log.Warn("it cannot be written down whether an instance is full", "full", isFull, "error", err)
	}
}

// forget is for an instance of which nothing bounds any more how much it may write.
func (in *Instance) forget() fill {
	in.guarded.mu.Lock()
	in.guarded.fill, in.guarded.extra = roomy, 0
	in.guarded.mu.Unlock()
	in.remember(false)
	in.complain(storageTrouble, "")
	in.complain(readOnlyTrouble, "")
	return roomy
}

// refuse asks the engine to let clients write no more than that.
func (in *Instance) refuse(ctx context.Context, w engine.Writes, last refusal) (refusal, error) {
	g := &in.guarded
	g.configuring.Lock()
	defer g.configuring.Unlock()
	refuser, ok := g.node.Engine.(engine.Refuser)
	if !ok {
		return refusal{writes: w, done: true, at: in.m.Now()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, refusalPatience)
	defer cancel()
	err := refuser.RefuseWrites(ctx, g.node.Node, w)
	if err != nil && last.done && ctx.Err() == nil && !errors.Is(err, engine.ErrStuck) {
		in.log.Warn("an engine does not refuse, or allow, what clients write; it is asked again", "writes", w, "error", err)
	}
	return refusal{writes: w, done: err == nil, at: in.m.Now()}, err
}

// An engine that has filled its volume all the same cannot write what it takes to refuse, and one that ended for that
// cannot start. Of the room that was kept, and is used up, a part is made good, and another one where that was used up
// too. All of it goes when the volume has room again. What an engine that serves may get leaves as much for its starts:
// clients that are quicker than the keeper use up all that it gets. Behind that it starts without them.
const (
	recoveryRoom   = 32 * backstay.MB // that is enough for a start
	recoveryPart   = 64 * backstay.MB
	recoveryServes = 2 * recoveryPart
	recoveryMost   = 4 * recoveryPart
)

// refuge is how much larger the volume is to be than its plan has it.
func (g *guard) refuge() backstay.Bytes {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.extra
}

// taken is how much larger the volume is.
func (g *guard) taken() backstay.Bytes {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.given
}

// took notes that the volume is that much larger.
func (g *guard) took(extra backstay.Bytes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.given = extra
}

// isOverrun tells whether clients have used up all that the engine got for its recovery while it served.
func (g *guard) isOverrun() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.extra > recoveryServes
}

// lend has the volume be larger by up to most, for an engine that is in that room, and reports whether it is to be.
// Where it is the disk below that has no room, that would help nothing.
func (g *guard) lend(r room, most backstay.Bytes) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case r.watched || r.isShort() || r.free >= recoveryRoom:
		return false
	case g.extra == g.given && g.extra < most:
		g.extra += recoveryPart
	}
	return g.extra != g.given
}

// makeRoom looks how full the instance is before its engine is started, and gives it room for that. Closed tells that
// no client may come and use that up.
func (in *Instance) makeRoom(ctx context.Context) (closed bool, err error) {
	r, known := in.room()
	if !known {
		return false, nil
	}
	in.judge(r)
	if !in.guarded.lend(r, recoveryMost) {
		return false, nil
	}
	return in.guarded.isOverrun(), in.mountVolume(ctx)
}

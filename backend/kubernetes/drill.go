package kubernetes

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/drill"
	"github.com/backstay/backstay/internal/wait"
)

// underway is a drill that goes on: a Spec has asked for a restart, or for a change of the primary, and it is seen what
// clients feel of that. It is part of the record until nothing is left of it in the instance.
type underway struct {
	Generation int64           `json:"generation"`
	Began      time.Time       `json:"began"`
	Node       string          `json:"node"`           // that was the primary then
	Password   backstay.Secret `json:"password"`       // of who writes
	Seen       *drill.Tally    `json:"seen,omitempty"` // as of a moment ago; nil: nothing was written yet
	Told       bool            `json:"told,omitempty"` // what was seen is among Drills: the rest is clearing away
}

// LogValue is the drill without the password.
func (d underway) LogValue() slog.Value { return backstay.RedactedValue(d) }

// noteEvery is how often it is noted what a drill has seen, for who goes on with it when we are killed.
const noteEvery = time.Second

// restartedDrill is how far a drill can be relied on that somebody else has begun.
const restartedDrill = "Backstay was started again meanwhile: writes failed for that long at most, and whether any " +
	"of the last second before that was lost is not known."

// lastDrill is the one that goes on, or ended last; nil if there was none.
func (r record) lastDrill() *backend.Drill {
	var underWay *backend.Drill
	if d := r.Drill; d != nil && !d.Told {
		underWay = &backend.Drill{Generation: d.Generation, Began: d.Began}
	}
	return drill.Last(underWay, r.Drills)
}

// withDrill is the record with one more that has ended.
func (r record) withDrill(seen backend.Drill) record {
	if r.Drill == nil || r.Drill.Generation != seen.Generation || r.Drill.Told {
		return r
	}
	told := *r.Drill
	told.Told = true
	r.Drill = &told
	r.Drills = drill.Remember(r.Drills, seen)
	return r
}

// drilled tells whether there is a drill of that generation, or was one.
func (r record) drilled(generation int64) bool {
	last := r.lastDrill()
	return r.Drill != nil && r.Drill.Generation == generation || last != nil && last.Generation >= generation
}

// begins tells whether a restart, or a change of the primary, that was asked for is begun next.
func (s situation) begins() bool {
	restarts := s.record.Restarts.Owed && !s.record.Restarts.Noted
	return restarts || s.record.Handed.Owed && s.record.Handed.From == "" && s.heir() != ""
}

// callsForDrill tells whether that is to be looked at by a drill, of which nothing is noted yet.
func (s situation) callsForDrill() bool {
	r := s.record
	return s.begins() && r.Reached != nil && !r.Spec.Private && !r.drilled(r.Spec.Generation)
}

// drillWriter notes what a drill has seen in the record, every now and then.
type drillWriter struct {
	drill.Writer
	seen atomic.Pointer[drill.Tally] // the last that was acknowledged
}

func (in *instance) newDrillWriter(e engine.Drillable) *drillWriter {
	w := &drillWriter{}
	w.Writer = drill.Writer{
		Now: in.b.Now, Note: func(t drill.Tally) { w.seen.Store(&t) },
		Open: func(ctx context.Context) (engine.DrillSession, error) { return in.openDrill(ctx, e) },
	}
	return w
}

// openDrill logs in as clients do: by the address in the credentials, wherever the primary is.
func (in *instance) openDrill(ctx context.Context, e engine.Drillable) (engine.DrillSession, error) {
	r, known := in.known()
	if !known || r.Drill == nil {
		return nil, unknown(in.id)
	}
	w, err := in.b.wishFor(r, r.standing())
	if err != nil {
		return nil, err
	}
	n, way := in.into(r, w)
	address, config, err := way.address()
	if err != nil {
		return nil, err
	}
	return e.OpenDrill(ctx, n, engine.DrillLogin{
		Password: r.Drill.Password, TLS: config,
		Dial: func(ctx context.Context) (net.Conn, error) { return way.reach(ctx, address) },
	})
}

// startDrill has somebody write to the primary before what was asked for is begun, and notes before that that there is
// a drill. It is in nobody's way: where it cannot be, what was asked for is done without.
func (in *instance) startDrill(ctx context.Context, s situation) (saved bool, err error) {
	e, drillable := in.b.Engines[s.wish.spec.Engine].(engine.Drillable)
	if !drillable || in.drill.IsUnderWay() && s.record.drilled(s.record.Spec.Generation) {
		return false, nil
	}
	if s.callsForDrill() {
		in.drill.End() // an earlier one is cleared away by this one's beginning
		d := underway{
			Generation: s.record.Spec.Generation, Began: in.b.Now().UTC(), Node: s.view.Primary,
			Password: backstay.Secret(rand.Text()),
		}
		return in.change(ctx, s.record, func(r record) record {
			r.Drill = &d
			return r
		})
	}
	d := s.record.Drill
	if s.begins() && d != nil && d.Generation == s.record.Spec.Generation && d.Seen == nil && !d.Told {
		in.beginDrill(ctx, s, e, *d)
	}
	return false, nil
}

// beginDrill waits for the first write, and has the drill go on then.
func (in *instance) beginDrill(life context.Context, s situation, e engine.Drillable, d underway) {
	ctx, cancel := context.WithTimeout(life, drill.Patience)
	defer cancel()
	w, err := in.newDrillWriter(e), drill.ErrNobody
	if s.seen.err == nil {
		n, _ := in.into(s.record, s.wish)
		err = e.AdmitDriller(ctx, n, d.Password)
	}
	if err == nil {
		err = w.Begin(ctx)
	}
	if err == nil {
		err = in.noteSeen(ctx, d, w)
	}
	if err != nil {
		in.b.Log.Warn("a drill sees nothing", "instance", in.id, "error", err)
		w.Trouble = sentenceFor(err)
	}
	in.goOnWithDrill(life, d, e, w)
}

// noteSeen notes what was seen so far.
func (in *instance) noteSeen(ctx context.Context, d underway, w *drillWriter) error {
	_, err := in.amend(ctx, func(r record) record {
		if r.Drill != nil && r.Drill.Generation == d.Generation && !r.Drill.Told {
			now := *r.Drill
			now.Seen = w.seen.Load()
			r.Drill = &now
		}
		return r
	})
	return err
}

// goOnWithDrill writes until the drill is over, tells what was seen, and clears it away.
func (in *instance) goOnWithDrill(life context.Context, d underway, e engine.Drillable, w *drillWriter) {
	in.drill = drill.Start(life, func(ctx context.Context, over <-chan struct{}) {
		defer w.Close()
		if w.Trouble == "" && !d.Told {
			in.writeDrill(ctx, d, w, over)
		}
		if err := in.endDrill(ctx, d, e, w); err != nil && ctx.Err() == nil {
			in.b.Log.Error("a drill does not end as it is to", "instance", in.id, "error", err)
		}
	})
}

// writeDrill writes, and notes meanwhile what was seen. Where that cannot be noted, it is tried again a moment later.
func (in *instance) writeDrill(ctx context.Context, d underway, w *drillWriter, over <-chan struct{}) {
	var noting sync.WaitGroup
	defer noting.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	noting.Go(func() {
		for noted := w.seen.Load(); wait.Pause(ctx, noteEvery) == nil; {
			if now := w.seen.Load(); now != noted && in.noteSeen(ctx, d, w) == nil {
				noted = now
			}
		}
	})
	w.Write(ctx, over)
}

// resumeDrill goes on with a drill that an earlier Backstay has left. One whose first write was not acknowledged yet is
// begun again, or told of by concludeDrill.
func (in *instance) resumeDrill(life context.Context) {
	r, known := in.known()
	e, drillable := in.b.Engines[r.Spec.Engine].(engine.Drillable)
	if d := r.Drill; known && drillable && !r.Removing && d != nil && (d.Seen != nil || d.Told) {
		w := in.newDrillWriter(e)
		if d.Seen != nil {
			w.Resume(*d.Seen, restartedDrill)
		}
		in.goOnWithDrill(life, *d, e, w)
	}
}

// concludeDrill is called when the instance may have come to what the drill looks at.
func (in *instance) concludeDrill(life context.Context) {
	underWay := in.drill.IsUnderWay() // before the record is read: it may end between
	r, _ := in.known()
	d := r.Drill
	if d == nil || d.Told || !r.hasReached(d.Generation) {
		return
	}
	if e, drillable := in.b.Engines[r.Spec.Engine].(engine.Drillable); drillable && !underWay {
		w := in.newDrillWriter(e)
		w.Trouble = "Backstay was started again before anything was written."
		in.goOnWithDrill(life, *d, e, w)
	}
	in.drill.Conclude()
}

// endDrill tells what was seen, and then leaves nothing of the drill. It goes on until it has, or ctx ends: then the
// next Backstay does.
func (in *instance) endDrill(ctx context.Context, d underway, e engine.Drillable, w *drillWriter) error {
	insist := func(do func() error) error {
		return wait.Until(ctx, wait.Growing(time.Second, time.Minute), func() (again bool, err error) {
			err = do()
			return err != nil, err
		})
	}
	if !d.Told && ctx.Err() == nil {
		r, _ := in.known()
		seen := w.Seen(backend.Drill{
			Generation: d.Generation, Began: d.Began, Node: r.Primary, Changed: r.Primary != d.Node,
		})
		err := insist(func() error {
			_, err := in.amend(ctx, func(r record) record { return r.withDrill(seen) })
			return err
		})
		if err != nil {
			return err
		}
		in.b.Log.Info("a drill has ended", "instance", in.id, "seen", seen)
		in.wake()
	}
	if err := insist(func() error { return in.dismissDriller(ctx, e) }); err != nil {
		return err
	}
	return insist(func() error {
		_, err := in.amend(ctx, func(r record) record {
			if r.Drill != nil && r.Drill.Generation == d.Generation {
				r.Drill = nil
			}
			return r
		})
		return err
	})
}

// dismissDriller removes who has written, and what.
func (in *instance) dismissDriller(ctx context.Context, e engine.Drillable) error {
	n, _, err := in.b.serving(ctx, in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerLimit)
	defer cancel()
	return e.DismissDriller(ctx, n)
}

// Drills are those that have ended last, of each instance that had one.
func (b *Backend) Drills(ctx context.Context) (map[backstay.InstanceID][]backend.Drill, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	held := map[backstay.InstanceID][]backend.Drill{}
	for _, in := range b.known() {
		if r, known := in.known(); known && len(r.Drills) > 0 {
			held[in.id] = r.Drills
		}
	}
	return held, nil
}

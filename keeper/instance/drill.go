package instance

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/drill"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/wait"
)

// Drill is one that goes on: a generation has asked for a restart, or for a change of the primary, and it is seen what
// clients feel of that. It is part of the record until nothing is left of it in the instance.
type Drill struct {
	Generation int64           `json:"generation"`
	Began      time.Time       `json:"began"`
	Node       string          `json:"node"`           // that served then
	Password   backstay.Secret `json:"password"`       // of who writes
	Told       bool            `json:"told,omitempty"` // what was seen is among Drills: the rest is clearing away
}

// LogValue is the drill without the password.
func (d Drill) LogValue() slog.Value { return backstay.RedactedValue(d) }

// callsForDrill tells whether the generation asks for what a drill looks at.
func (r Record) callsForDrill(generation int64) bool {
	s := r.spec(generation)
	asks := s.Restarts > r.Restarts || hasSeveral(s) && s.Failovers > r.Failovers
	return asks && s.Generation == generation && r.Port != 0
}

// lastDrill is the one that goes on, or ended last; nil if there was none.
func (r Record) lastDrill() *backend.Drill {
	var underWay *backend.Drill
	if d := r.Drill; d != nil && !d.Told {
		underWay = &backend.Drill{Generation: d.Generation, Began: d.Began}
	}
	return drill.Last(underWay, r.Drills)
}

// drillSteps begin a drill where the generation calls for one. They never fail: a drill is in nobody's way.
func (in *Instance) drillSteps(generation func() int64) []step.Step {
	return []step.Step{
		{Name: "keeper.drill-noted", Do: func(context.Context) error {
			in.noteDrill(generation())
			return nil
		}},
		{Name: "keeper.drill-begun", Do: func(ctx context.Context) error {
			d := in.Record().Drill
			if d != nil && d.Generation == generation() && !d.Told && !in.seen.drill.IsUnderWay() {
				in.beginDrill(ctx, *d)
			}
			return nil
		}},
	}
}

// noteDrill has the record say that there is a drill, before there is anything of it.
func (in *Instance) noteDrill(generation int64) {
	r := in.Record()
	_, drillable := in.m.Engines[r.Spec.Engine].(engine.Drillable)
	if !drillable || !r.callsForDrill(generation) || r.Drill != nil && r.Drill.Generation == generation {
		return
	}
	in.seen.drill.End() // an earlier one is cleared away by this one's beginning
	d := Drill{
		Generation: generation, Began: in.m.Now().UTC(), Node: r.Place.name(), Password: backstay.Secret(rand.Text()),
	}
	err := atomicfile.Remove(in.m.Records.drillPath(in.ID))
	if err == nil {
		err = in.amendAlone(func(r *Record) { r.Drill = &d })
	}
	if err != nil {
		in.log.Warn("there is no drill", "error", err)
	}
}

// beginDrill has somebody write to the primary, which goes on in a goroutine of its own once a write was acknowledged.
func (in *Instance) beginDrill(life context.Context, d Drill) {
	ctx, cancel := context.WithTimeout(life, drill.Patience)
	defer cancel()
	w := in.newDrillWriter()
	err := in.admitDriller(ctx)
	if err == nil {
		err = w.begin(ctx)
	}
	if err != nil {
		in.log.Warn("a drill sees nothing", "error", err)
		w.Trouble = sentenceOfDrill(err)
	}
	in.goOnWithDrill(life, d, w)
}

// admitDriller makes who writes known to the primary, and to the second where that has users of its own.
func (in *Instance) admitDriller(ctx context.Context) error {
	s := &in.seen
	if !s.answers || !s.silent.IsZero() {
		return drill.ErrNobody
	}
	e := s.node.Engine.(engine.Drillable) // see noteDrill
	if err := e.AdmitDriller(ctx, s.node.Node, in.Record().Drill.Password); err != nil {
		return err
	}
	return in.mirror(ctx, s.node, false)
}

// sentenceOfDrill is why a drill has seen nothing, for users.
func sentenceOfDrill(err error) string {
	if backstay.KindOf(err) == backstay.Internal {
		return "Nobody could write before, for a reason that only the operator's log tells."
	}
	return WithoutPaths(backstay.SentenceOf(err))
}

// goOnWithDrill writes until the drill is over, tells what was seen, and clears it away.
func (in *Instance) goOnWithDrill(life context.Context, d Drill, w *drillWriter) {
	in.seen.drill = drill.Start(life, func(ctx context.Context, over <-chan struct{}) {
		defer w.close()
		switch {
		case d.Told:
		case w.Trouble == "":
			w.Write(ctx, over)
		default: // which node goes on is known then
			select {
			case <-over:
			case <-ctx.Done():
			}
		}
		if ctx.Err() == nil { // else the next keeper goes on
			if err := step.Run(ctx, in.drillEndSteps(d, w)...); err != nil && ctx.Err() == nil {
				in.log.Error("a drill does not end as it is to", "error", err)
			}
		}
	})
}

// resumeDrill goes on with a drill that an earlier keeper has left. One whose first write was not acknowledged yet is
// begun again, or told of by concludeDrill.
func (in *Instance) resumeDrill(life context.Context) {
	d := in.Record().Drill
	if d == nil || in.Record().Removing {
		return
	}
	w := in.newDrillWriter()
	if err := w.resume(); err != nil && !d.Told {
		in.log.Info("a drill that had not begun is left", "error", err)
		return
	}
	in.goOnWithDrill(life, *d, w)
}

// concludeDrill is called when the instance serves: what the drill looked at may be over.
func (in *Instance) concludeDrill(life context.Context) {
	r := in.Record()
	if r.Drill == nil || r.Drill.Told || r.Reached < r.Drill.Generation {
		return
	}
	if !in.seen.drill.IsUnderWay() {
		w := in.newDrillWriter()
		w.Trouble = "The keeper was started again before anything was written."
		in.goOnWithDrill(life, *r.Drill, w)
	}
	in.seen.drill.Conclude()
}

// drillEndSteps tell what was seen, and then leave nothing of the drill.
func (in *Instance) drillEndSteps(d Drill, w *drillWriter) []step.Step {
	return []step.Step{
		{Name: "keeper.drill-told", Do: func(context.Context) error {
			if d.Told {
				return nil
			}
			seen := w.seen(d)
			err := in.amendAlone(func(r *Record) {
				d.Told = true
				r.Drill = &d
				r.Drills = drill.Remember(r.Drills, seen)
			})
			in.log.Info("a drill has ended", "seen", seen, "error", err)
			in.report(func(*backend.Status) {})
			return err
		}},
		{Name: "keeper.drill-cleared", Do: func(ctx context.Context) error {
			err := wait.Until(ctx, wait.Growing(time.Second, time.Minute), func() (again bool, err error) {
				err = in.dismissDriller(ctx)
				return err != nil, err
			})
			if err != nil {
				return err
			}
			err = atomicfile.Remove(in.m.Records.drillPath(in.ID))
			return errors.Join(err, in.amendAlone(func(r *Record) { r.Drill = nil }))
		}},
	}
}

// dismissDriller removes who has written, and what.
func (in *Instance) dismissDriller(ctx context.Context) error {
	n, err := in.Serving(ctx)
	if err != nil {
		return err
	}
	e, ok := n.Engine.(engine.Drillable)
	if !ok {
		return nil
	}
	if err := e.DismissDriller(ctx, n.Node); err != nil {
		return err
	}
	return in.mirror(ctx, n, false)
}

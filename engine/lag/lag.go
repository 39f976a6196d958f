package lag

import (
	"slices"
	"time"

	"github.com/backstay/backstay/engine"
)

// mark is where the primary's log ended at a moment.
type mark struct {
	at  time.Time
	end int64
}

// mostMarks are kept of how the primary's log has grown while a node did not keep up.
const mostMarks = 512

// Gauge is what was seen of how one node follows. The zero Gauge has seen nothing.
type Gauge struct {
	fresh time.Time // as of when clients of the node read everything; zero: it has not followed yet
	marks []mark    // of the primary's log, that they do not read yet
	late  bool
}

// Look notes what the node was found to be like at a moment: its clients read everything as of the first mark that it
// has not come to, by the looks so far. Before the first one, the engine's word counts.
func (g *Gauge) Look(f engine.Following, now time.Time) {
	first := g.fresh.IsZero()
	if f.End == 0 || first && !f.Streams {
		return
	}
	g.marks = slices.DeleteFunc(g.marks, func(m mark) bool { return m.end <= f.Read || m.end > f.End })
	if n := len(g.marks); f.Read < f.End && (n == 0 || g.marks[n-1].end < f.End) {
		next := mark{at: now, end: f.End}
		if first {
			next.at = now.Add(-f.Lag)
		}
		g.marks = append(g.marks, next)
	}
	if len(g.marks) > mostMarks {
		for i := range mostMarks / 2 {
			g.marks[i] = g.marks[2*i]
		}
		g.marks = g.marks[:mostMarks/2]
	}
	if g.fresh = now; len(g.marks) > 0 {
		g.fresh = g.marks[0].at
	}
}

// Known tells whether the node has followed since it was looked at first.
func (g *Gauge) Known() bool { return !g.fresh.IsZero() }

// LagAt is how old what clients of the node read may have been at a moment; 0 where that is not known.
func (g *Gauge) LagAt(now time.Time) time.Duration {
	if g.fresh.IsZero() {
		return 0
	}
	return max(now.Sub(g.fresh), 0)
}

// Judge has nobody read from the node while it is further behind than the limit, until it clearly is not any more: at
// the limit itself, all sessions would end again and again.
func (g *Gauge) Judge(now time.Time, limit time.Duration) (changed bool) {
	before := g.late
	switch lag := g.LagAt(now); {
	case lag > limit:
		g.late = true
	case lag <= limit/2:
		g.late = false
	}
	return g.late != before
}

// IsLate tells whether the node is too far behind to be read from, as was judged last.
func (g *Gauge) IsLate() bool { return g.late }

package instance

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
)

// mark is where the primary's log ended at a moment.
type mark struct {
	at  time.Time
	end int64
}

// mostMarks are kept of how the primary's log has grown while a standby did not keep up.
const mostMarks = 512

// measure finds out as of when clients of the second read everything: since the first mark that it has not come to, by
// the looks of this keeper. Before its first one, the engine's word counts.
func (s *secondSight) measure(f engine.Following, now time.Time) {
	first := s.fresh.IsZero()
	if f.End == 0 || first && !f.Streams {
		return
	}
	s.marks = slices.DeleteFunc(s.marks, func(m mark) bool { return m.end <= f.Read || m.end > f.End })
	if n := len(s.marks); f.Read < f.End && (n == 0 || s.marks[n-1].end < f.End) {
		next := mark{at: now, end: f.End}
		if first {
			next.at = now.Add(-f.Lag)
		}
		s.marks = append(s.marks, next)
	}
	if len(s.marks) > mostMarks {
		for i := range mostMarks / 2 {
			s.marks[i] = s.marks[2*i]
		}
		s.marks = s.marks[:mostMarks/2]
	}
	if s.fresh = now; len(s.marks) > 0 {
		s.fresh = s.marks[0].at
	}
}

// forgetReads forgets what was seen of who reads from the second: its process is another one.
func (s *secondSight) forgetReads() {
	s.fresh, s.marks, s.lagging, s.caught, s.unheard = time.Time{}, nil, false, 0, time.Time{}
}

// lag is how old what clients of the second read may have been when it was looked for last; 0 where that is not known.
func (s *secondSight) lag() time.Duration {
	if s.fresh.IsZero() {
		return 0
	}
	return max(s.asked.Sub(s.fresh), 0)
}

// judgeLag has nobody read from a node while it is further behind than the limit, until it clearly is not any more.
func (s *secondSight) judgeLag(limit time.Duration, log *slog.Logger) {
	before := s.lagging
	switch lag := s.lag(); {
	case lag > limit:
		s.lagging = true
	case lag <= limit/2:
		s.lagging = false
	}
	if s.lagging != before {
		log.Info("how far a node is behind says whether it is read from", "read", !s.lagging, "lag", s.lag(),
			"limit", limit)
	}
}

func (in *Instance) maxLag() time.Duration {
	r := in.Record()
	return r.spec(r.Started).Reading.Limit()
}

// lagTrouble is the kind of trouble of an instance of which a node is too far behind to be read from.
const lagTrouble = "replica"

// tellLag tells which nodes are not read from for their lag.
func (in *Instance) tellLag(way route) {
	sentence := ""
	if late := way.late; late != "" {
		name, others := "The standby is", "other nodes serve"
		switch {
		case strings.Contains(late, " "):
			name = "Nodes " + strings.ReplaceAll(late, " ", " and ") + " are"
		case late != in.Record().Place.other().name():
			name = "Replica " + late + " is"
		}
		if way.isPrimarys {
			others = "the primary serves"
		}
		sentence = name + " behind by more than max_replica_lag, " + in.maxLag().String() +
			". Until that is no longer so, " + others + " who reads from replicas."
	}
	in.complain(lagTrouble, sentence)
}

// unheardPatience is for how long the second need not say how it follows, and is read from.
const unheardPatience = time.Second

// hear notes whether the second could say how it follows.
func (s *secondSight) hear(err error, now time.Time) {
	switch {
	case err == nil || errors.Is(err, engine.ErrCopy):
		s.unheard = time.Time{}
	case s.unheard.IsZero():
		s.unheard = now
	}
}

// isHeard tells whether the second answers, as far as is known. While the primary does not, nobody can tell.
func (in *Instance) isHeard() bool {
	s := &in.seen.second
	return s.unheard.IsZero() || s.asked.Sub(s.unheard) < unheardPatience || !in.seen.mute.IsZero() && !in.seen.busy
}

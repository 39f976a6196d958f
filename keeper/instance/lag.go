package instance

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/lag"
)

// forgetReads forgets what was seen of who reads from the second: its process is another one.
func (s *secondSight) forgetReads() {
	if s.catching != nil {
		s.catching.cancel()
	}
	s.reads, s.caught, s.catching, s.unheard = lag.Gauge{}, 0, nil, time.Time{}
}

// lag is how old what clients of the second read may have been when it was looked for last; 0 where that is not known.
func (s *secondSight) lag() time.Duration { return s.reads.LagAt(s.asked) }

// judgeLag has nobody read from a node while it is further behind than the limit, until it clearly is not any more.
func (s *secondSight) judgeLag(limit time.Duration, log *slog.Logger) {
	if s.reads.Judge(s.asked, limit) {
		log.Info("how far a node is behind says whether it is read from", "read", !s.reads.IsLate(), "lag", s.lag(),
			"limit", limit)
	}
}

func (in *Instance) maxLag() time.Duration {
	r := in.Record()
	return r.spec(r.Started).Reading.Limit()
}

// tellLag tells which nodes are not read from for their lag.
func (in *Instance) tellLag(way route) {
	in.complain(lag.Trouble, lag.Sentence(strings.Fields(way.late), in.Record().Place.other().name(), way.isPrimarys,
		in.maxLag()))
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

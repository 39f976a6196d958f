package drill

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

const (
	// Patience is how long the first write may take: what a drill looks at does not wait any longer.
	Patience = 3 * time.Second

	pause   = 5 * time.Millisecond // between two writes
	limit   = 5 * time.Second      // that one may take, with its login, before another is tried
	after   = 30 * time.Second     // that it may take until writes are acknowledged, once the instance serves
	longest = 10 * time.Minute     // that a drill may take in all
)

// Writer writes to the instance as a client does, one number after the other, and looks in each session that it begins
// for the one that was acknowledged before.
type Writer struct {
	Open func(context.Context) (engine.DrillSession, error) // logs in
	Note func(Tally)                                        // is told of each write that was acknowledged
	Now  func() time.Time

	// Trouble says why nothing, or not all, could be seen; empty: it could.
	Trouble string

	tally   Tally
	session engine.DrillSession // nil: there is none
	last    time.Time           // when a write was acknowledged last
	resumed string              // see Resume
}

// Begin writes for the first time.
func (w *Writer) Begin(ctx context.Context) error { return w.next(ctx) }

// Resume goes on with what another Writer has seen, whose process has ended. The sentence says how far what was seen
// can be relied on then.
func (w *Writer) Resume(t Tally, sentence string) {
	w.tally, w.last, w.resumed = t, time.Unix(0, t.At), sentence
}

// Close ends the session.
func (w *Writer) Close() {
	if w.session != nil {
		w.session.Close()
	}
	w.session = nil
}

// Write writes until a write was acknowledged that began once the drill was over.
func (w *Writer) Write(ctx context.Context, over <-chan struct{}) {
	began, ended := w.Now(), time.Time{}
	for wait.Pause(ctx, pause) == nil {
		select {
		case <-over:
			if ended.IsZero() {
				ended = w.Now()
			}
		default:
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		err := w.next(limited)
		cancel()
		now := w.Now()
		switch {
		case err == nil && !ended.IsZero():
			return
		case err == nil && now.Sub(began) >= longest:
			w.Trouble = "What it looks at had not come to its end after ten minutes. Until then, writes were acknowledged."
			return
		case !ended.IsZero() && now.Sub(ended) >= after, now.Sub(began) >= longest:
			w.tally.Longest = max(w.tally.Longest, int64(now.Sub(w.last)))
			w.Trouble = "At the end, writes were not acknowledged yet."
			return
		}
	}
}

// next writes the next number, in a new session where the last one has ended.
func (w *Writer) next(ctx context.Context) error {
	if w.session == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	if err := w.session.Keep(ctx, w.tally.Kept+1); err != nil {
		w.Close()
		return err
	}
	now := w.Now()
	w.tally.tell(now, now.Sub(cmp.Or(w.last, now)))
	w.last = now
	w.Note(w.tally)
	return nil
}

// open logs in, and looks for what was acknowledged.
func (w *Writer) open(ctx context.Context) error {
	session, err := w.Open(ctx)
	if err != nil {
		return err
	}
	switch found, err := session.Kept(ctx); {
	case errors.Is(err, engine.ErrErased):
		w.tally.Erased = w.tally.Kept > 0
	case err != nil:
		session.Close()
		return err
	default:
		w.tally.find(found)
	}
	w.session = session
	return nil
}

// Seen adds to a drill what was seen of it.
func (w *Writer) Seen(d backend.Drill) backend.Drill {
	d.Trouble = w.Trouble
	if w.tally.Erased {
		d.Trouble = cmp.Or(d.Trouble, "Clients had deleted what it wrote: more than that may have been lost.")
	}
	d.Trouble = cmp.Or(d.Trouble, w.resumed)
	d.Ended, d.Failed = w.Now().UTC(), time.Duration(w.tally.Longest)
	d.Written, d.Lost = w.tally.Written, w.tally.Lost
	return d
}

package drill

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/engine"
)

// sessions acknowledges writes, unless it fails.
type sessions struct {
	kept  int64
	fails error
}

func (s *sessions) Keep(_ context.Context, number int64) error {
	if s.fails == nil {
		s.kept = number
	}
	return s.fails
}

func (s *sessions) Kept(context.Context) (int64, error) { return s.kept, s.fails }
func (s *sessions) Close()                              {}

// TestAnEndIsToldAsItIs: what goes on for too long while writes are acknowledged is told as such, and not as an outage.
func TestAnEndIsToldAsItIs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fails, isOver bool
		told          string
		longest       time.Duration // at the most
	}{
		"it is over":                  {false, true, "", time.Second},
		"it goes on":                  {false, false, "Until then, writes were acknowledged.", time.Second},
		"it is over, and nobody gets": {true, true, "writes were not acknowledged yet", after + 2*limit},
		"it goes on, and nobody gets": {true, false, "writes were not acknowledged yet", longest + 2*limit},
	} {
		synctest.Test(t, func(t *testing.T) {
			database := &sessions{}
			w := &Writer{Now: time.Now, Note: func(Tally) {}, Open: func(context.Context) (engine.DrillSession, error) {
				return database, nil
			}}
			if err := w.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			if tc.isOver {
				close(over)
			}
			if tc.fails {
				database.fails = errors.New("the database is away")
			}
			w.Write(t.Context(), over)
			failed := time.Duration(w.tally.Longest)
			if !strings.Contains(w.Trouble, tc.told) || (w.Trouble == "") != (tc.told == "") || failed > tc.longest {
				t.Errorf("%s: it tells %q, and that writes failed for %v", name, w.Trouble, failed)
			}
		})
	}
}

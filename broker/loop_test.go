package broker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
)

// ledger answers what the loops ask of a Store, and can do nothing else.
type ledger struct {
	Store
	read      []time.Time // when its entries were read
	scheduled []time.Time // when its schedule was
	archived  []time.Time // when what is kept of deleted instances was
	reported  []string
}

func (l *ledger) Entries(context.Context) ([]Entry, error) {
	l.read = append(l.read, time.Now())
	return nil, errors.New("it is down")
}

func (l *ledger) Schedule(context.Context) ([]Scheduled, error) {
	l.scheduled = append(l.scheduled, time.Now())
	return nil, errors.New("it is down")
}

func (l *ledger) Archives(context.Context) ([]Archive, error) {
	l.archived = append(l.archived, time.Now())
	return nil, errors.New("it is down")
}

func (l *ledger) ReportOperation(_ context.Context, _ backstay.OperationKey, description string) error {
	l.reported = append(l.reported, description)
	return nil
}

// away is a backend that tells nobody what it has.
type away struct {
	backend.Backend

	mu    sync.Mutex
	asked []time.Time
}

func (a *away) Inventory(context.Context) (backend.Inventory, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, time.Now())
	return backend.Inventory{}, errors.New("it is away")
}

// TestRun: the reconciler looks at once and then every two seconds, whoever does maintenance, or has backups to begin,
// or looks what plans cost, every five, and whoever forgets what is not kept any more every hour, also after they have
// failed.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		silent := &away{}
		b := &Broker{
			Store: l, Log: slog.New(slog.DiscardHandler), Backends: map[string]backend.Backend{Local: silent},
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if err := b.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		for i, at := range l.read {
			if want := time.Duration(i) * 2 * time.Second; at.Sub(begun) != want {
				t.Errorf("look %d after %v, want %v", i, at.Sub(begun), want)
			}
		}
		if len(l.read) != 4 || len(l.scheduled) != 3 || l.scheduled[2].Sub(begun) != 5*time.Second {
			t.Errorf("%d looks and %v in 7 seconds, want 4 and 3, of which one is the review", len(l.read), l.scheduled)
		}
		if len(silent.asked) != 4 || len(l.archived) != 1 {
			t.Errorf("backups to begin and prices were looked for at %v, and backups to forget at %v; want each twice, and once",
				silent.asked, l.archived)
		}
	})
}

// full is a backend on which an instance waits for room on the disk, for ever.
type full struct{ backend.Backend }

func (full) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	if revision > 0 {
		<-ctx.Done()
		return backend.Status{}, ctx.Err()
	}
	return backend.Status{
		Instance: id, Revision: 1, Wanted: 1, Phase: backend.Failing, Message: "It does not serve.",
		Obstacle: backend.Obstacle{Generation: 1, Sentence: "The disk is full."},
	}, nil
}

// slow is a backend on which work goes on for so long, told of every minute, and then hangs unless it comes to an end.
type slow struct {
	backend.Backend
	begun time.Time
	works time.Duration
	hangs bool
}

func (s *slow) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	status := backend.Status{Instance: id, Revision: revision + 1, Wanted: 1, Phase: backend.Preparing, Message: "It is restored."}
	if revision > 0 {
		if err := wait.Pause(ctx, time.Minute); err != nil {
			return status, err
		}
	}
	switch status.Worked = time.Now(); {
	case time.Since(s.begun) < s.works:
	case s.hangs:
		<-ctx.Done()
		return status, ctx.Err()
	default:
		status.Generation, status.Phase = 1, backend.Running
	}
	return status, nil
}

// TestWorkHasItsTime: what is seen to go on is waited for, however long it takes, and what hangs for an hour.
func TestWorkHasItsTime(t *testing.T) {
	t.Parallel()
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			its := &slow{begun: time.Now(), works: 30 * time.Hour, hangs: hangs}
			b := &Broker{Store: &ledger{}, Backends: map[string]backend.Backend{Local: its}}
			_, err := b.awaitReached(t.Context(), Instance{Backend: Local}, Operation{Wanted: Wanted{Generation: 1}})
			took := time.Since(its.begun)
			if !hangs && (err != nil || took != 30*time.Hour) {
				t.Errorf("after %v: %v", took, err)
			}
			if hangs && (!isHopeless(err) || took < 30*time.Hour || took > 31*time.Hour) {
				t.Errorf("what hangs ends after %v: %v", took, err)
			}
		})
	}
}

// TestOperationLimit: what may still come true is waited for, with its reason for all to see, for an hour.
func TestOperationLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		b := &Broker{Store: l, Backends: map[string]backend.Backend{Local: full{}}}
		begun := time.Now()
		_, err := b.awaitReached(t.Context(), Instance{Backend: Local}, Operation{Wanted: Wanted{Generation: 1}})
		if took := time.Since(begun); took != time.Hour || !isHopeless(err) {
			t.Errorf("after %v: %v", took, err)
		}
		if sentence := backstay.SentenceOf(err); !strings.HasSuffix(sentence, "The disk is full.") {
			t.Errorf("it ends as %q", sentence)
		}
		if len(l.reported) != 1 || l.reported[0] != "The disk is full." {
			t.Errorf("reported: %q", l.reported)
		}
	})
}

// unwell is a backend some of whose instances do not serve as wanted.
type unwell struct {
	away
	all []backend.Status
}

func (u *unwell) Unwell(context.Context) ([]backend.Status, error) { return u.all, nil }

// TestWhoDoesNotServeIsToldApart from who serves and has a trouble, or is back in a moment.
func TestWhoDoesNotServeIsToldApart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	its := &unwell{all: []backend.Status{
		{Instance: "fails", Phase: backend.Failing, Message: "The disk is damaged."},
		{Instance: "is lost", Phase: backend.Failing, Generation: 2, Message: "Its data is gone.",
			Obstacle: backend.Obstacle{Generation: 2, Sentence: "Its data is gone."}},
		{Instance: "cannot change", Phase: backend.Failing, Generation: 1, Message: "The disk is damaged.",
			Obstacle: backend.Obstacle{Generation: 2, Sentence: "The disk is damaged."}},
		{Instance: "slow", Phase: backend.Starting, Message: "It is starting.", Down: now.Add(-time.Minute)},
		{Instance: "restarts", Phase: backend.Starting, Message: "It is starting.", Down: now},
		{Instance: "troubled", Phase: backend.Running, Message: "It is available."},
	}}
	b := &Broker{Store: &ledger{}, Backends: map[string]backend.Backend{Local: its}, Now: func() time.Time { return now }}
	reasons, _ := b.Unhealthy(t.Context())
	want := map[backstay.InstanceID]string{
		"fails":   "It is started again and again. The disk is damaged.",
		"is lost": "Its data is gone.", "cannot change": "It is started again and again. The disk is damaged.",
		"slow": "It is starting.",
	}
	if !maps.Equal(reasons, want) {
		t.Errorf("told is %q, want %q", reasons, want)
	}
}

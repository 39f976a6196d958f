package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// newIdle returns an instance that nobody runs.
func newIdle(t *testing.T) *Instance {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	dir := t.TempDir()
	m := &Machine{
		Records: Records{Dir: dir, Reserve: &Reserve{Path: filepath.Join(dir, "reserve")}, Log: log},
		DataDir: dir, Disks: NewDisks(dir, "", filepath.Join(dir, "mounts.json"), 0), Host: "localhost", Now: time.Now, Log: log,
		AskEvery: func() time.Duration { return time.Second },
	}
	return New(m, Record{Spec: backend.Spec{Instance: "i", Generation: 1}, Port: 20000})
}

func awaitStatus(t *testing.T, in *Instance, seen int64, patience time.Duration) backend.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return in.Await(ctx, seen)
}

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newIdle(t)
		first := awaitStatus(t, in, 0, time.Minute)
		if again := awaitStatus(t, in, first.Revision, time.Minute); !again.Same(first) || again.Revision != first.Revision {
			t.Errorf("after its time is up a request is answered %+v, want %+v", again, first)
		}
		go func() {
			time.Sleep(time.Second)
			in.enter(backend.Starting, "It starts.")
		}()
		began := time.Now()
		next := awaitStatus(t, in, first.Revision, time.Minute)
		if next.Phase != backend.Starting || next.Revision <= first.Revision {
			t.Errorf("woken by %+v", next)
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("woken after %s", waited)
		}
	})
}

// TestClockSetBack has somebody know a revision that an earlier keeper gave, later than ours.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	seen := in.status.Revision + int64(time.Hour)
	status := awaitStatus(t, in, seen, time.Minute)
	if status.Revision <= seen {
		t.Errorf("revision %d does not surpass %d", status.Revision, seen)
	}
	in.enter(backend.Starting, "It starts.")
	if next := awaitStatus(t, in, status.Revision, time.Minute); next.Revision <= status.Revision {
		t.Errorf("revision %d came after %d", next.Revision, status.Revision)
	}
}

func TestFailureIsTold(t *testing.T) {
	t.Parallel()
	known := backstay.Errorf(backstay.Unavailable, "The engine ended: out of memory.")
	impossible := backstay.Errorf(backstay.Unsupported, "postgres 0 is not installed on this machine.")
	for _, tc := range []struct {
		name    string
		err     error
		before  int // failures
		phase   backend.Phase
		message string
		final   bool
	}{
		{"first", known, 0, backend.Starting, "The engine ended: out of memory. It is started again.", false},
		{"again", fmt.Errorf("step: %w", known), 1, backend.Failing, "The engine ended: out of memory.", false},
		{"our own", errors.New("/etc/secret: permission denied"), 1, backend.Failing,
			"The engine does not start, for a reason that only the operator's log tells.", false},
		{"for ever", impossible, 0, backend.Failing, "postgres 0 is not installed on this machine.", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := newIdle(t)
			in.seen.failures, in.seen.failed = tc.before, time.Now()
			in.fail(action{verb: toStart, generation: 1}, tc.err)
			s := in.status
			if s.Phase != tc.phase || s.Message != tc.message || s.Obstacle.Final != tc.final {
				t.Errorf("%v leads to %+v, want %s, %q, final %t", tc.err, s, tc.phase, tc.message, tc.final)
			}
			if told := s.Obstacle.Sentence != ""; told != (tc.phase == backend.Failing) {
				t.Errorf("the obstacle is %+v", s.Obstacle)
			}
		})
	}
}

// TestADrillThatSawNothing tells which node goes on: it is told when that is known.
func TestADrillThatSawNothing(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := in.newDrillWriter()
	w.Trouble = "It is full."
	in.goOnWithDrill(ctx, Drill{Generation: 1, Node: in.Record().Place.name()}, w)
	if err := in.amendAlone(func(r *Record) { r.Place = r.Place.other() }); err != nil {
		t.Fatal(err)
	}
	in.seen.drill.Conclude()
	for len(in.Record().Drills) == 0 && in.seen.drill.IsUnderWay() {
		time.Sleep(time.Millisecond)
	}
	told := in.Record().lastDrill()
	if told == nil || !told.Changed || told.Node != in.Record().Place.name() || told.Trouble != w.Trouble {
		t.Errorf("it tells %+v", told)
	}
	cancel()
	in.seen.drill.End()
}

// TestWhyThePrimaryHasEnded: what ended the server that served is told of a failover, beside what was in the way of
// starting that again.
func TestWhyThePrimaryHasEnded(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	in.seen.volume = backstay.GB
	in.seen.ended = "The engine ended: a bug. It is started again."
	in.seen.failures = 1
	in.enter(backend.Starting, "%s", in.seen.ended)
	if got, want := in.whyEnded(), "The engine ended: a bug."; got != want {
		t.Errorf("once: %q, want %q", got, want)
	}
	in.seen.failures = 2
	in.enter(backend.Failing, "The engine ended: a file is in the way.")
	const both = "The engine ended: a bug. It was not started again: The engine ended: a file is in the way."
	if got := in.whyEnded(); got != both {
		t.Errorf("twice: %q, want %q", got, both)
	}
}

// TestAnotherWishEndsARest, however long it would be, and one that came before it began.
func TestAnotherWishEndsARest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newIdle(t)
		w := in.Record().wish()
		began := time.Now()
		err := in.carryOut(t.Context(), w, action{verb: toRest, until: began.Add(time.Minute)})
		if err != nil || time.Since(began) != time.Minute {
			t.Errorf("it rested for %s: %v", time.Since(began), err)
		}
		spec := in.Record().Spec
		spec.Generation = 2
		go func() {
			time.Sleep(time.Second)
			if err := in.Apply(t.Context(), spec, nil); err != nil {
				t.Error(err)
			}
		}()
		for range 2 {
			began = time.Now()
			err := in.carryOut(t.Context(), w, action{verb: toRest, until: began.Add(time.Hour)})
			if !errors.Is(err, errAnotherWish) || time.Since(began) > time.Second {
				t.Errorf("it rested for %s: %v", time.Since(began), err)
			}
		}
	})
}

// TestStatusDoesNotWaitForTheDisk asks while a record is being written.
func TestStatusDoesNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	in.write.Lock()
	defer in.write.Unlock()
	told := make(chan struct{})
	go func() {
		defer close(told)
		awaitStatus(t, in, 0, time.Minute)
		in.Unwell()
		in.Record()
	}()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("the status waits for the disk")
	}
}

// TestReportMayAsk: a report that asks the instance for its record, as the end of a settling that another wish
// interrupts does, keeps nobody from anything.
func TestReportMayAsk(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.report(func(st *backend.Status) { st.Message = fmt.Sprint("Generation ", in.Record().Spec.Generation) })
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the report has not ended")
	}
	if status, _ := in.Look(); status.Message != "Generation 1" {
		t.Errorf("it says %q", status.Message)
	}
}

// TestTroublesAreToldByKind: one of a kind takes the place of the one before, whoever waits for news hears of each
// change, and an instance with a trouble is unwell until it is over.
func TestTroublesAreToldByKind(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	for _, step := range []struct {
		kind, sentence string
		news           bool
		want           []backstay.Trouble
	}{
		{"storage", "It is nearly full.", true, []backstay.Trouble{{Kind: "storage", Sentence: "It is nearly full."}}},
		{"storage", "It is nearly full.", false, []backstay.Trouble{{Kind: "storage", Sentence: "It is nearly full."}}},
		{"memory", "It was killed.", true, []backstay.Trouble{
			{Kind: "memory", Sentence: "It was killed."}, {Kind: "storage", Sentence: "It is nearly full."}}},
		{"storage", "", true, []backstay.Trouble{{Kind: "memory", Sentence: "It was killed."}}},
		{"storage", "", false, []backstay.Trouble{{Kind: "memory", Sentence: "It was killed."}}},
		{"memory", "", true, nil},
	} {
		before, _ := in.Look()
		in.complain(step.kind, step.sentence)
		after, _ := in.Look()
		if !slices.Equal(after.Troubles, step.want) || (after.Revision > before.Revision) != step.news {
			t.Errorf("after %q about %s: %+v, want %+v", step.sentence, step.kind, after.Troubles, step.want)
		}
		if in.Unwell() != (len(step.want) > 0) {
			t.Errorf("with %+v it is unwell: %t", step.want, in.Unwell())
		}
	}
}

// TestAServerThatIsAwayIsToldOf, once it takes longer than a restart does, and no more when it serves.
func TestAServerThatIsAwayIsToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newIdle(t)
		runs := func(st *backend.Status) { st.Generation, st.Phase = 1, backend.Running }
		for range 2 {
			in.report(runs)
			in.enter(backend.Starting, "It is started.")
			time.Sleep(4 * time.Second)
			in.enter(backend.Starting, "It is started still.")
			if in.Unwell() {
				t.Error("a restart is told of")
			}
			time.Sleep(2 * time.Second)
			if !in.Unwell() {
				t.Error("nobody is told that it does not serve")
			}
			in.report(runs)
			if in.Unwell() {
				t.Error("it serves, and is told of")
			}
		}
	})
}

package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// newIdle returns a supervisor that nobody runs.
func newIdle(t *testing.T) *supervisor {
	c := Config{DataDir: t.TempDir(), Host: "localhost", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	k := &Keeper{Config: c, supervisors: map[backstay.InstanceID]*supervisor{}}
	s := newSupervisor(k, record{Spec: backend.Spec{Instance: "i", Generation: 1}, Port: 20000})
	k.supervisors[s.id] = s
	return s
}

// await asks for a status as the protocol does.
func await(t *testing.T, s *supervisor, after int64, patience time.Duration) backend.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf("/v2/instances/i?after=%d", after), nil)
	r.SetPathValue("id", "i")
	answer, err := s.k.answerStatus(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer.(backend.Status)
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	s := newIdle(t)
	first := await(t, s, 0, time.Minute)
	if again := await(t, s, first.Revision, 10*time.Millisecond); !again.Same(first) {
		t.Errorf("after its time is up a request is answered %+v, want %+v", again, first)
	}
	woken := make(chan backend.Status, 1)
	go func() { woken <- await(t, s, first.Revision, time.Minute) }()
	s.enter(backend.Starting, "It starts.")
	if next := <-woken; next.Phase != backend.Starting || next.Revision <= first.Revision {
		t.Errorf("woken by %+v", next)
	}
}

// TestClockSetBack has somebody know a revision that an earlier keeper gave, later than ours.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	s := newIdle(t)
	seen := s.status.Revision + int64(time.Hour)
	status := await(t, s, seen, time.Minute)
	if status.Revision <= seen {
		t.Errorf("revision %d does not surpass %d", status.Revision, seen)
	}
	s.enter(backend.Starting, "It starts.")
	if next := await(t, s, status.Revision, time.Minute); next.Revision <= status.Revision {
		t.Errorf("revision %d came after %d", next.Revision, status.Revision)
	}
}

func TestFailureIsTold(t *testing.T) {
	t.Parallel()
	s := newIdle(t)
	s.report(func(st *backend.Status) { st.Phase = backend.Running })
	known := backstay.Errorf(backstay.Unavailable, "The engine ended: out of memory.")
	for _, tc := range []struct {
		err     error
		delay   time.Duration
		phase   backend.Phase
		message string
	}{
		{known, 0, backend.Starting, "The engine ended: out of memory. It is started again."},
		{fmt.Errorf("step: %w", known), time.Second, backend.Failing, "The engine ended: out of memory."},
		{errors.New("/etc/secret: permission denied"), time.Second, backend.Failing, "The engine does not start, for a reason that only the operator's log tells."},
	} {
		s.fail(tc.err, tc.delay)
		if s.status.Phase != tc.phase || s.status.Message != tc.message {
			t.Errorf("%v leads to %+v, want %s and %q", tc.err, s.status, tc.phase, tc.message)
		}
	}
}

func TestAmendedRecordEndsAPause(t *testing.T) {
	t.Parallel()
	s := newIdle(t)
	s.nudge()
	s.nudge() // wakes once: what is wanted is read anew anyway
	s.pause(t.Context(), time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.pause(ctx, time.Hour)
}

func TestDataDirMustLeaveRoomForSockets(t *testing.T) {
	t.Parallel()
	c := Config{DataDir: "/" + strings.Repeat("d", maxDataDir)}
	if err := c.prepare(); err == nil || !strings.Contains(err.Error(), "leave room for Unix sockets") {
		t.Errorf("a path of %d bytes: %v", len(c.DataDir), err)
	}
}

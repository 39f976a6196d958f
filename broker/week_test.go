package broker_test

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/window"
)

// clock is the time of a test, that only the test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC).UnixNano()) // a Friday, at noon
	return c
}

func (c *clock) Now() time.Time { return time.Unix(0, c.at.Load()).UTC() }

func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

// onSimulated is a broker on a machine that is simulated, with a clock of the test's.
func onSimulated(t *testing.T) (*house, *simulated, *clock) {
	t.Helper()
	machine, c := newSimulated(), newClock()
	h := newHouse(t, machine)
	h.Now = c.Now
	return h, machine, c
}

// made is an instance that has been created, by work of the test's own.
func (h *house) made(t *testing.T) backstay.ProvisionRequest {
	t.Helper()
	r := h.newRequest(t, "S")
	made, err := h.Provision(t.Context(), r)
	must(t, err)
	must(t, h.Work(t.Context(), r.InstanceID, made.Operation, false))
	return r
}

// queue asks for a change in the maintenance window.
func (h *house) queue(t *testing.T, r backstay.ProvisionRequest, size, more string) backstay.Updated {
	t.Helper()
	wish := update(r, h.plan(t, size))
	wish.Parameters = json.RawMessage(`{"apply_at_maintenance_window": true` + more + `}`)
	updated, err := h.Update(t.Context(), wish)
	must(t, err)
	return updated
}

// TestAWeekOfWindows takes 250 instances with the real ledger through a week. All are to be upgraded, and some have
// wishes: each of that is done once, in the window.
func TestAWeekOfWindows(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	count := 250
	if testing.Short() {
		count = 100
	}
	h, machine, c := onSimulated(t)
	ledger := noting{h.Store, new(sync.Mutex), new([]broker.Operation)}
	h.Store = ledger
	wants := h.settleMany(t, count)
	machine.alter(func(s *simulated) { s.build = "15.2" })
	begun := time.Now()
	defer func() { t.Logf("a week of windows took %v", time.Since(begun)) }()
	for end := c.Now().Add(7 * 24 * time.Hour); c.Now().Before(end); c.pass(untilNight(c.Now())) {
		must(t, h.Maintain(t.Context()))
		for ops := ledger.take(); len(ops) > 0; ops = append(ops[1:], ledger.take()...) {
			op := ops[0]
			if weekly := h.maintenanceWindow(t, op.InstanceID); !isOpen(weekly, c.Now()) {
				t.Errorf("%s is begun at %s, outside of %s", op.InstanceID, c.Now(), weekly)
			}
			wants[op.InstanceID]--
			must(t, h.Work(t.Context(), op.InstanceID, op.ID, false))
			if len(ops) == 1 {
				must(t, h.Maintain(t.Context())) // looks again seconds later
			}
		}
	}
	for id, left := range wants {
		spec := machine.specs[id]
		if left != 0 || spec.Build != "15.2" || machine.restarts[id] == 0 {
			t.Errorf("of %s %d tasks are left, and it serves as %s", id, left, spec.Build)
		}
	}
}

// untilNight is the time to the next look: windows that nobody chose lie in the night.
func untilNight(now time.Time) time.Duration {
	if now.Hour() < 22 && now.Hour() > 6 {
		return time.Hour
	}
	return 15 * time.Minute
}

// settleMany makes instances, some of them with wishes, and tells how much is to be done to each in its window.
func (h *house) settleMany(t *testing.T, count int) (wants map[backstay.InstanceID]int) {
	t.Helper()
	var mu sync.Mutex
	wants = map[backstay.InstanceID]int{}
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range numbers {
				r := h.made(t)
				tasks := 1
				if i%5 == 0 {
					h.queue(t, r, "M", "")
					tasks++
				}
				mu.Lock()
				wants[r.InstanceID] = tasks
				mu.Unlock()
			}
		})
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	return wants
}

// maintenanceWindow is the window that users are told of.
func (h *house) maintenanceWindow(t *testing.T, id backstay.InstanceID) window.Weekly {
	t.Helper()
	fetched, err := h.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: id})
	must(t, err)
	var told struct {
		Maintenance window.Weekly `json:"preferred_maintenance_window"`
	}
	must(t, json.Unmarshal(fetched.Parameters, &told))
	return told.Maintenance
}

func isOpen(w window.Weekly, now time.Time) bool {
	opens, _ := w.Next(now)
	return !now.Before(opens)
}

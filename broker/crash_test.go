package broker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/window"
)

// crashes is where the process of the test is to die. The test of crashes runs alone.
var crashes crash

type crash struct {
	mu   sync.Mutex
	step string // behind which it dies; empty: none
	die  func()
}

func (c *crash) plan(step string, die func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step, c.die = step, die
}

// pass is told of each step that has been taken.
func (c *crash) pass(step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.step != "" && step == c.step {
		c.step = ""
		c.die()
	}
}

// mortal is a broker that dies and is started again: what it was at ends there, and nothing in memory is left.
type mortal struct {
	*house
	t    *testing.T
	mu   sync.Mutex
	ctx  context.Context // of everything that the broker does; it ends when it dies
	kill context.CancelFunc
	stop func()
}

func (m *mortal) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.house.Broker
	m.house = &house{store: m.store, Broker: &broker.Broker{
		Store: was.Store, Backends: was.Backends, Certifier: was.Certifier, Offered: was.Offered, Key: was.Key, Now: was.Now,
		Log: was.Log,
	}}
	m.ctx, m.kill = context.WithCancel(context.Background())
	m.stop = runUntil(m.t, m.ctx, m.jobs, m.Run)
}

// insist calls do until it succeeds, with a broker that is started again whenever it has died.
func (m *mortal) insist(do func(ctx context.Context, h *house) error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (bool, error) {
		m.mu.Lock()
		now, h := m.ctx, m.house
		m.mu.Unlock()
		err := do(now, h)
		if now.Err() == nil {
			return err != nil && backstay.KindOf(err) == backstay.Busy, err
		}
		m.stop()
		m.start()
		return true, err
	})
	must(m.t, err)
}

// until waits for the end of the operation that is in progress.
func (m *mortal) until(id backstay.InstanceID) (last backstay.Operation) {
	m.t.Helper()
	m.insist(func(ctx context.Context, h *house) (err error) {
		ask := backstay.LastOperationRequest{InstanceID: id}
		last, err = h.LastOperation(ctx, ask)
		for err == nil && last.State == backstay.InProgress {
			last, err = h.AwaitOperation(ctx, ask, last)
		}
		return absent(err)
	})
	return last
}

func absent(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

// TestCrash takes an instance through its life once for each step of the code, has the broker die just behind the
// step, and expects everything to end as if nothing had happened.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	instances, _ := keepertest.Run(t, keepertest.Config(t, 2))
	m := &mortal{t: t, house: newHouse(t, limited{instances, 40})}
	m.start()
	t.Cleanup(func() { m.stop() })
	for _, step := range testkit.Drawn(t, slices.Sorted(slices.Values(broker.StepNames()))) {
		if step == "broker.delete.refused" { // comes after a minute and a half of failures: see TestFailedDelete
			continue
		}
		if !t.Run(step, func(t *testing.T) { m.survive(t, step, (*mortal).update) }) {
			return // what comes after would only say the same
		}
		if strings.HasPrefix(step, "broker.update.") {
			t.Run(step+" in a window", func(t *testing.T) { m.survive(t, step, (*mortal).updateInWindow) })
		}
	}
}

// survive has an instance live, with one change that update makes, while the broker dies behind the step.
func (m *mortal) survive(t *testing.T, step string, update changing) {
	m.t = t
	died := make(chan struct{})
	crashes.plan(step, func() {
		m.kill()
		close(died)
	})
	if strings.HasPrefix(step, "broker.create.") && isUndone(step) {
		m.failToCreate(died)
	} else {
		m.live(update, isUndone(step))
	}
	select { // the last step of an operation is passed after its end has been seen
	case <-died:
	case <-time.After(limit):
		t.Error("nothing came past the step")
	}
	entries, err := m.store.Broker().Entries(t.Context())
	must(t, err)
	held, err := m.Backends[broker.Local].Held(t.Context())
	must(t, err)
	if len(entries) > 0 || len(held) > 0 {
		t.Errorf("left are %+v in the ledger and %+v in the backend", entries, held)
	}
}

// isUndone tells whether a step is one of those that undo an operation.
func isUndone(step string) bool {
	for _, part := range []string{"given-up", "withdrawn", "returned", "restored", "refused"} {
		if strings.HasSuffix(step, "."+part) {
			return true
		}
	}
	return false
}

func (m *mortal) provision(size string) backstay.ProvisionRequest {
	m.t.Helper()
	r := m.newRequest(m.t, size)
	m.insist(func(ctx context.Context, h *house) error {
		_, err := h.Provision(ctx, r)
		return err
	})
	return r
}

// failToCreate has a create fail, and deletes what is left of it once the broker has died: a delete that comes sooner
// interrupts the last step of the create when that has been taken and is not passed yet.
func (m *mortal) failToCreate(died <-chan struct{}) {
	r := m.provision("L")
	if op := m.until(r.InstanceID); op.State != backstay.Failed || op.Description != notInstalled {
		m.t.Errorf("ended as %+v", op)
	}
	select {
	case <-died:
	case <-time.After(limit):
	}
	m.end(r)
}

func (m *mortal) end(r backstay.ProvisionRequest) {
	m.insist(func(ctx context.Context, h *house) error {
		_, err := h.Deprovision(ctx, backstay.DeprovisionRequest{InstanceID: r.InstanceID})
		return absent(err)
	})
	if op := m.until(r.InstanceID); op.State == backstay.Failed {
		m.t.Errorf("the delete ended as %+v", op)
	}
}

// changing asks for a change of an instance's plan and waits for its end. It fails if it is doomed.
type changing func(m *mortal, r backstay.ProvisionRequest, doomed bool)

// live makes, uses, changes and ends an instance.
func (m *mortal) live(update changing, doomed bool) {
	r := m.provision("S")
	if op := m.until(r.InstanceID); op.State != backstay.Succeeded {
		m.t.Fatalf("the create ended as %+v", op)
	}
	binding := backstay.BindRequest{InstanceID: r.InstanceID, BindingID: backstay.BindingID(uuid.NewString())}
	var c backstay.Credentials
	m.insist(func(ctx context.Context, h *house) error {
		bound, err := h.Bind(ctx, binding)
		c = bound.Credentials
		return err
	})
	tell(m.t, c, "CREATE TABLE kept AS SELECT 42 AS n")
	update(m, r, doomed)
	if kept := ask(m.t, c, "SELECT n::text FROM kept"); kept != "42" {
		m.t.Errorf("the data have become %s", kept)
	}
	m.insist(func(ctx context.Context, h *house) error {
		_, err := h.Unbind(ctx, backstay.UnbindRequest{InstanceID: r.InstanceID, BindingID: binding.BindingID})
		return absent(err)
	})
	if conn, err := connect(m.t, c); err == nil {
		conn.Close(m.t.Context())
		m.t.Error("the credentials outlived the binding")
	}
	m.end(r)
}

func (m *mortal) update(r backstay.ProvisionRequest, doomed bool) {
	m.ask(update(r, m.planFor(doomed)))
	m.wantEnd(r, doomed)
}

// updateInWindow asks for the change in a maintenance window, which is open now.
func (m *mortal) updateInWindow(r backstay.ProvisionRequest, doomed bool) {
	now := sinceMonday(time.Now())
	w := window.Weekly{Start: now - time.Hour, Length: 2 * time.Hour}
	backups := window.Daily{Start: now + 6*time.Hour, Length: time.Hour}
	wish := update(r, m.planFor(doomed))
	wish.Parameters = fmt.Appendf(nil, `{"apply_at_maintenance_window": true, "preferred_maintenance_window": %q,
		"preferred_backup_window": %q}`, w, backups)
	m.ask(wish)
	m.insist(func(ctx context.Context, h *house) error {
		if err := h.Maintain(ctx); err != nil {
			return err
		}
		in, err := h.Store.Instance(ctx, r.InstanceID)
		if err == nil && (in.Busy || in.Pending.ID != "") {
			err = backstay.Errorf(backstay.Busy, "It is not done yet.")
		}
		return err
	})
	m.wantEnd(r, doomed)
}

func sinceMonday(now time.Time) time.Duration {
	utc := now.UTC()
	return utc.Sub(utc.Truncate(24*time.Hour).AddDate(0, 0, -int(utc.Weekday()+6)%7))
}

// planFor is the plan to change to.
func (m *mortal) planFor(doomed bool) backstay.ServicePlanID {
	if doomed {
		return m.plan(m.t, "L")
	}
	return m.plan(m.t, "M")
}

func (m *mortal) ask(wish backstay.UpdateRequest) {
	m.t.Helper()
	m.insist(func(ctx context.Context, h *house) error {
		_, err := h.Update(ctx, wish)
		return err
	})
}

// wantEnd waits for the end of an update, and checks what is accepted then.
func (m *mortal) wantEnd(r backstay.ProvisionRequest, doomed bool) {
	m.t.Helper()
	want, accepted := backstay.Succeeded, m.planFor(doomed)
	if doomed {
		want, accepted = backstay.Failed, r.PlanID
	}
	if op := m.until(r.InstanceID); op.Type != backstay.Update || op.State != want {
		m.t.Errorf("the update ended as %+v, want %s", op, want)
	}
	fetched, err := m.FetchInstance(m.t.Context(), backstay.FetchInstanceRequest{InstanceID: r.InstanceID})
	must(m.t, err)
	if fetched.PlanID != accepted {
		m.t.Errorf("accepted is plan %s, want %s", fetched.PlanID, accepted)
	}
}

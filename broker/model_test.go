package broker_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/window"
)

// TestModel takes instances through sequences of updates, wishes, windows, builds, kills, restarts and jumps of the
// clock that a seed decides, and holds what users are told, and what serves, against a simple model after each.
func TestModel(t *testing.T) {
	onSeeds(t, 8, 3, func(t *testing.T, seed uint64) { newModel(t, seed).run(40) })
}

// onSeeds runs a test on seeds of chance, fewer of them where time is short.
func onSeeds(t *testing.T, rounds, short int, run func(t *testing.T, seed uint64)) {
	t.Parallel()
	if testing.Short() {
		rounds = short
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { run(t, seed) })
	}
}

// connections of the plans, by their sizes.
var connections = map[string]int{"S": 20, "M": 40, "L": 60}

// wish is a change, in the model's words.
type wish struct {
	size       string // of the plan; empty: it stays
	extensions []string
	reboot     bool
	upgrade    bool
}

func (w wish) isSomething() bool { return w.size != "" || w.extensions != nil || w.reboot || w.upgrade }

// model is what an instance should be.
type model struct {
	*kept
	fate   *fate
	chance *rand.Rand
	number int                // of requests so far
	jobs   []broker.Operation // by maintenance, as the job queue remembers them

	size       string
	extensions []string
	build      string
	newest     string
	restarts   int
	window     window.Weekly
	pending    wish
	failed     bool // the last thing that users asked for
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{kept: onTuesdays(t), chance: rand.New(rand.NewPCG(seed, 0)), size: "S", build: "15.1", newest: "15.1"}
	m.fate = &fate{chance: m.chance, left: -1}
	m.window, _ = window.ParseWeekly("tue:04:00-tue:04:30")
	m.Store = mortalLedger{m.ledger, m.fate}
	m.Backends = map[string]backend.Backend{broker.Local: mortalBackend{m.machine, m.fate}}
	return m
}

func (m *model) run(steps int) {
	for n := range steps {
		did := m.act()
		m.check()
		if m.t.Failed() {
			m.t.Fatalf("after step %d: %s", n, did)
		}
	}
}

// act does something, which kills may interrupt, and tells what.
func (m *model) act() string {
	m.fate.live(-1)
	if m.chance.IntN(3) == 0 {
		m.fate.live(m.chance.IntN(8))
	}
	switch m.chance.IntN(10) {
	case 0, 1:
		return m.change(m.anyWish())
	case 2, 3, 4:
		return m.queue(m.anyWish())
	case 5:
		m.ask(wish{}, `"apply_at_maintenance_window": false`)
		m.pending, m.failed = wish{}, false
		return "withdraw"
	case 6:
		return m.move()
	case 7:
		return m.install()
	}
	return m.jump()
}

func (m *model) anyWish() wish {
	switch m.chance.IntN(6) {
	case 0, 1, 2:
		return wish{size: []string{"S", "M", "L"}[m.chance.IntN(3)]}
	case 3:
		return wish{extensions: []string{[]string{"a", "b", "c"}[m.chance.IntN(3)]}}
	case 4:
		return wish{reboot: true}
	}
	return wish{upgrade: true}
}

func (w wish) parameters() (parts []string) {
	if w.extensions != nil {
		encoded, _ := json.Marshal(w.extensions)
		parts = append(parts, `"enable_extensions": `+string(encoded))
	}
	if w.reboot {
		parts = append(parts, `"reboot": true`)
	}
	if w.upgrade {
		parts = append(parts, `"update_minor_version_to_latest": true`)
	}
	return parts
}

// ask asks for a wish, with more parameters, until the broker that is killed meanwhile has heard it; and works on what
// comes of it.
func (m *model) ask(w wish, more ...string) {
	m.t.Helper()
	m.number++
	r := backstay.UpdateRequest{InstanceID: m.r.InstanceID}
	r.RequestID = fmt.Sprint("request ", m.number)
	if w.size != "" {
		r.PlanID = m.plan(m.t, w.size)
	}
	if parts := append(w.parameters(), more...); len(parts) > 0 {
		r.Parameters = json.RawMessage("{" + strings.Join(parts, ", ") + "}")
	}
	m.insist(func() error {
		updated, err := m.Update(m.t.Context(), r)
		if err == nil && updated.Async {
			err = m.Work(m.t.Context(), m.r.InstanceID, updated.Operation, false)
		}
		return err
	})
}

// insist does something again, by a new process, until it was not killed meanwhile.
func (m *model) insist(do func() error) {
	m.t.Helper()
	err := do()
	for tries := 0; err != nil && strings.Contains(err.Error(), errKilled.Error()) && tries < 10; tries++ {
		was := m.Broker
		m.house.Broker = &broker.Broker{
			Store: was.Store, Backends: was.Backends, Certifier: was.Certifier, Offered: was.Offered, Key: was.Key,
			Now: was.Now, Log: was.Log,
		}
		m.fate.live(m.chance.IntN(8) + 1)
		if tries > 3 {
			m.fate.live(-1)
		}
		err = do()
	}
	must(m.t, err)
}

// change asks for a wish at once.
func (m *model) change(w wish) string {
	m.ask(w)
	if w.size == m.size {
		w.size = ""
	}
	m.failed = m.comesTo(w) && !m.serve(w)
	return fmt.Sprintf("change to %+v", w)
}

// comesTo tells whether a wish changes anything.
func (m *model) comesTo(w wish) bool {
	return w.size != "" && w.size != m.size || w.reboot || w.upgrade && m.build != m.newest ||
		slices.ContainsFunc(w.extensions, func(e string) bool { return !slices.Contains(m.extensions, e) })
}

// serve makes a wish true, unless it cannot be.
func (m *model) serve(w wish) bool {
	if w.size == "L" {
		return false
	}
	if w.size != "" {
		m.size = w.size
	}
	if w.reboot || w.upgrade && m.build != m.newest {
		m.restarts++
	}
	if w.upgrade {
		m.build = m.newest
	}
	m.extensions = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(m.extensions), w.extensions...))))
	return true
}

func (m *model) queue(w wish) string {
	if w.size == m.size {
		return "nothing"
	}
	m.ask(w, `"apply_at_maintenance_window": true`)
	m.pending, m.failed = w, false
	if !m.comesTo(w) {
		m.pending = wish{}
	}
	return fmt.Sprintf("queue %+v", w)
}

func (m *model) move() string {
	w := window.Weekly{Start: time.Duration(m.chance.IntN(7*8)) * 3 * time.Hour, Length: 40 * time.Minute}
	if w.Overlaps(window.Daily{Start: 2 * time.Hour, Length: 30 * time.Minute}) {
		return "nothing"
	}
	m.ask(wish{}, fmt.Sprintf(`"preferred_maintenance_window": %q`, w))
	m.window, m.failed = w, false
	return "move the window to " + w.String()
}

func (m *model) install() string {
	m.newest = fmt.Sprint("15.", m.number+2)
	m.machine.alter(func(s *simulated) { s.build = m.newest })
	return "install " + m.newest
}

// jump lets time pass, as a machine does that was off, and then does what is due.
func (m *model) jump() string {
	now := m.clock.Now().Add(time.Duration(m.chance.Int64N(int64(9 * 24 * time.Hour))))
	if opens, _ := m.window.Next(now); m.chance.IntN(2) == 0 && opens.After(now) {
		now = opens
	}
	m.at(now)
	m.insist(func() error {
		for idle := 0; idle < 2; { // a pending change that has come true already ends without a job
			if err := m.Maintain(m.t.Context()); err != nil {
				return err
			}
			idle++
			if m.jobs = append(m.jobs, m.ledger.take()...); len(m.jobs) > 0 {
				idle = 0
			}
			for _, op := range m.jobs {
				if err := m.Work(m.t.Context(), m.r.InstanceID, op.ID, false); err != nil {
					return err
				}
			}
			m.jobs = nil
		}
		return nil
	})
	if opens, _ := m.window.Next(now); !now.Before(opens) {
		m.maintained(now)
	}
	return "jump to " + now.String()
}

// maintained is what an open window makes of an instance.
func (m *model) maintained(now time.Time) {
	if w := m.pending; w.isSomething() {
		m.failed = m.comesTo(w) && !m.serve(w)
		m.pending = wish{}
	}
	if m.build != m.newest {
		m.build, m.failed = m.newest, false
		m.restarts++
	}
}

func (m *model) check() {
	m.t.Helper()
	m.fate.live(-1)
	fetched, says := m.fetch()
	if fetched.PlanID != m.plan(m.t, m.size) || !slices.Equal(says.Extensions, m.extensions) || says.Version != m.build ||
		says.Maintenance != m.window.String() {
		m.t.Errorf("users are told plan %s and %+v; want %s, %v, %s, %s", fetched.PlanID, says, m.size, m.extensions,
			m.build, m.window)
	}
	wantParameters := "{" + strings.Join(m.pending.parameters(), ",") + "}"
	gotParameters := "{}"
	if says.Pending.Parameters != nil {
		gotParameters = string(says.Pending.Parameters)
	}
	opens, _ := m.window.Next(m.clock.Now())
	switch p := says.Pending; {
	case (p.Window != "") != m.pending.isSomething():
		m.t.Errorf("pending is %+v, want %+v", p, m.pending)
	case p.Window != "" && (p.Plan != planName(m.pending.size) || !p.Begins.Equal(opens) ||
		gotParameters != strings.ReplaceAll(wantParameters, ": ", ":")):
		m.t.Errorf("pending is %+v with %s from %s, want %+v from %s", p, gotParameters, p.Begins, m.pending, opens)
	}
	m.checkServing(fetched)
}

func planName(size string) string {
	if size == "" {
		return ""
	}
	return size + "-dedicated-15"
}

// checkServing holds the machine, and what users are told of the last operation, against the model.
func (m *model) checkServing(fetched backstay.FetchedInstance) {
	m.t.Helper()
	spec, restarts := m.machine.specs[m.r.InstanceID], m.machine.restarts[m.r.InstanceID]
	if spec.Size.Connections != connections[m.size] || spec.Build != m.build || restarts != m.restarts {
		m.t.Errorf("it serves %d connections as %s, after %d restarts; want %s, %s, %d", spec.Size.Connections, spec.Build,
			restarts, m.size, m.build, m.restarts)
	}
	if version := strings.TrimSuffix(fetched.MaintenanceInfo.Version, ".0"); version != m.build {
		m.t.Errorf("the platform is told of version %s, want %s", version, m.build)
	}
	op := m.last("")
	if (op.State == backstay.Failed) != m.failed || op.State == backstay.InProgress {
		m.t.Errorf("users are told %+v, want it failed: %t", op, m.failed)
	}
	if pending := strings.Contains(op.Description, "Pending until"); op.State == backstay.Succeeded &&
		pending != m.pending.isSomething() {
		m.t.Errorf("users are told %q with %+v pending", op.Description, m.pending)
	}
	in, err := m.Store.Instance(m.t.Context(), m.r.InstanceID)
	must(m.t, err)
	if in.Busy {
		m.t.Error("an operation is left in progress")
	}
}

package broker_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
)

// TestModelOfBackups takes instances through sequences of writes, backups, damage of these, restores, returns, clones,
// deletes and days that a seed decides, with a broker that is killed behind any step, and holds what they contain against a simple model
// after each.
func TestModelOfBackups(t *testing.T) {
	onSeeds(t, 4, 2, func(t *testing.T, seed uint64) { newBackupModel(t, seed).run(40) })
}

// backupModel is what instances should contain, those that live and those that were deleted.
type backupModel struct {
	*model
	copies   *copying
	all      []*copied
	restores int // of any of them
	written  int // last, by any of them
}

// copied is one instance.
type copied struct {
	r       backstay.ProvisionRequest
	history []written
	saved   []written // its backups
	damaged []bool    // which of these are damaged
	skips   bool      // nobody wants a last one
	ended   time.Time // zero: it lives
}

func newBackupModel(t *testing.T, seed uint64) *backupModel {
	m := &backupModel{model: newModel(t, seed)}
	m.copies = &copying{simulated: m.machine, t: t, now: m.clock.Now, records: map[backstay.InstanceID]*backedUp{}}
	m.Backends = map[string]backend.Backend{broker.Local: mortalCopying{m.copies, m.fate}}
	m.fate.live(-1)
	m.make("", func(*copied) {})
	return m
}

func (m *backupModel) run(steps int) {
	for n := range steps {
		m.clock.pass(time.Duration(1+m.chance.IntN(3600)) * time.Second)
		m.fate.live(-1)
		if m.chance.IntN(2) == 0 {
			m.fate.live(m.chance.IntN(8))
		}
		did := m.act()
		m.fate.live(-1)
		m.check()
		if m.t.Failed() {
			m.t.Fatalf("after step %d: %s", n, did)
		}
	}
}

// act does something with an instance, and tells what.
func (m *backupModel) act() string {
	c := m.all[m.chance.IntN(len(m.all))]
	switch what := m.chance.IntN(11); {
	case what == 10:
		return m.damage(c)
	case what < 3:
		return m.write(c)
	case what == 3 && len(m.living()) < 6:
		return m.make("", func(*copied) {})
	case what < 6 && len(m.living()) < 6:
		return m.begin(c)
	case what == 6:
		m.clock.pass(time.Duration(m.chance.IntN(20*24)) * time.Hour)
		return "days go by"
	case !c.ended.IsZero():
		return "nothing"
	case what == 7:
		m.change(c, `{"backup": "now"}`)
		c.save(m.clock.Now())
		return "back up"
	case what == 8:
		return m.back(c)
	}
	return m.end(c)
}

func (m *backupModel) living() (living []*copied) {
	for _, c := range m.all {
		if c.ended.IsZero() {
			living = append(living, c)
		}
	}
	return living
}

func (c *copied) save(at time.Time) {
	c.saved, c.damaged = append(c.saved, written{at, valueAt(c.history, at)}), append(c.damaged, false)
}

// whole are the backups that are not damaged.
func (c *copied) whole() (whole []written) {
	for i, w := range c.saved {
		if !c.damaged[i] {
			whole = append(whole, w)
		}
	}
	return whole
}

// damage spoils a backup, or mends one.
func (m *backupModel) damage(c *copied) string {
	i := m.chance.IntN(len(c.saved))
	its := &m.copies.records[c.r.InstanceID].List[i]
	c.damaged[i], its.Damaged = !c.damaged[i], ""
	if c.damaged[i] {
		its.Damaged = "A part of it is gone."
	}
	return fmt.Sprintf("backup %d is damaged: %v", i, c.damaged[i])
}

func (m *backupModel) write(c *copied) string {
	if !c.ended.IsZero() {
		return "nothing"
	}
	m.written++
	w := written{m.clock.Now(), m.written}
	c.history = append(c.history, w)
	its := m.copies.records[c.r.InstanceID]
	its.history = append(its.history, w)
	return fmt.Sprint("write ", m.written)
}

// make makes an instance, and has fill say what it begins with.
func (m *backupModel) make(parameters string, fill func(*copied)) string {
	m.t.Helper()
	r := m.newRequest(m.t, "S")
	if parameters != "" {
		r.Parameters = json.RawMessage(parameters)
	}
	m.insist(func() error {
		made, err := m.Provision(m.t.Context(), r)
		if err == nil && made.Async {
			err = m.Work(m.t.Context(), r.InstanceID, made.Operation, false)
		}
		return err
	})
	c := &copied{r: r}
	fill(c)
	c.save(m.clock.Now())
	m.all = append(m.all, c)
	return "make an instance with " + parameters
}

// begin makes an instance of what another one holds, has held, or held when it was deleted.
func (m *backupModel) begin(from *copied) string {
	id, now := from.r.InstanceID, m.clock.Now()
	into := func(value int) func(*copied) {
		return func(c *copied) {
			m.restores++
			c.history = []written{{m.clock.Now(), value}}
		}
	}
	whole := from.whole()
	switch m.chance.IntN(4) {
	case 0:
		parameters := fmt.Sprintf(`{"clone_of": %q}`, id)
		if !from.ended.IsZero() {
			return m.refuse(parameters)
		}
		return m.make(parameters, into(valueAt(from.history, now)))
	case 1:
		parameters := fmt.Sprintf(`{"restore_from_latest_snapshot_of": %q}`, id)
		if from.isForgotten(now) || len(whole) == 0 {
			return m.refuse(parameters)
		}
		return m.make(parameters, into(whole[len(whole)-1].value))
	case 2:
		at := m.momentOf(from)
		parameters := fmt.Sprintf(`{"restore_from_point_in_time_of": %q, "restore_from_point_in_time_before": %q}`, id,
			at.Format(time.DateTime))
		if from.isForgotten(now) || len(whole) == 0 || at.Before(whole[0].at) {
			return m.refuse(parameters)
		}
		return m.make(parameters, into(valueAt(from.history, at)))
	}
	before := from.saved[0].at.Add(-time.Hour)
	return m.refuse(fmt.Sprintf(
		`{"restore_from_point_in_time_of": %q, "restore_from_point_in_time_before": %q}`, id, before.Format(time.DateTime)))
}

// isForgotten tells that nothing is kept of it any more.
func (c *copied) isForgotten(now time.Time) bool {
	days := 35
	if c.skips {
		days = 7
	}
	return !c.ended.IsZero() && !now.Before(c.ended.AddDate(0, 0, days))
}

// momentOf is any second that an instance can be restored to if its oldest backup is whole.
func (m *backupModel) momentOf(c *copied) time.Time {
	until := m.clock.Now()
	if !c.ended.IsZero() {
		until = c.ended
	}
	from := c.saved[0].at
	return from.Add(time.Duration(m.chance.Int64N(int64(until.Sub(from)/time.Second)+1)) * time.Second)
}

// refuse asks for an instance that cannot be, which changes nothing.
func (m *backupModel) refuse(parameters string) string {
	m.t.Helper()
	r := m.newRequest(m.t, "S")
	r.Parameters = json.RawMessage(parameters)
	_, err := m.Provision(m.t.Context(), r)
	switch kind := backstay.KindOf(err); {
	case err == nil || kind != backstay.Invalid && kind != backstay.Unsupported || !strings.HasSuffix(err.Error(), "."):
		m.t.Errorf("asked for %s, it is refused with %v", parameters, err)
	}
	return "refuse " + parameters
}

// change asks for an update, and sees that it succeeds.
func (m *backupModel) change(c *copied, parameters string) {
	m.t.Helper()
	r := backstay.UpdateRequest{InstanceID: c.r.InstanceID, Parameters: json.RawMessage(parameters)}
	m.number++
	r.RequestID = fmt.Sprint("request ", m.number)
	m.insist(func() error {
		updated, err := m.Update(m.t.Context(), r)
		if err == nil && updated.Async {
			err = m.Work(m.t.Context(), c.r.InstanceID, updated.Operation, false)
		}
		return err
	})
}

// back returns an instance to an earlier moment of its own.
func (m *backupModel) back(c *copied) string {
	at, whole := m.momentOf(c), c.whole()
	parameters := fmt.Sprintf(`{"restore_to_point_in_time": %q}`, at.Format(time.DateTime))
	if len(whole) == 0 || at.Before(whole[0].at) {
		r := backstay.UpdateRequest{InstanceID: c.r.InstanceID, Parameters: json.RawMessage(parameters)}
		_, err := m.Update(m.t.Context(), r)
		wantKind(m.t, err, backstay.Invalid)
		return "refuse " + parameters
	}
	m.change(c, parameters)
	m.restores++
	now := m.clock.Now()
	c.history = append(c.history, written{now, valueAt(c.history, at)})
	c.save(now)
	return parameters
}

// end deletes an instance, with a last backup unless nobody wants one.
func (m *backupModel) end(c *copied) string {
	if m.chance.IntN(3) == 0 {
		m.change(c, `{"skip_final_snapshot": true}`)
		c.skips = true
	}
	m.insist(func() error {
		gone, err := m.Deprovision(m.t.Context(), backstay.DeprovisionRequest{InstanceID: c.r.InstanceID})
		if err == nil {
			err = m.Work(m.t.Context(), c.r.InstanceID, gone.Operation, false)
		}
		return absent(err)
	})
	if c.ended = m.clock.Now(); !c.skips {
		c.save(c.ended)
	}
	return fmt.Sprint("delete, without a last backup: ", c.skips)
}

func (m *backupModel) check() {
	m.t.Helper()
	held, err := m.copies.Held(m.t.Context())
	must(m.t, err)
	delete(held, m.r.InstanceID) // of the other model
	if m.copies.restores != m.restores || len(held) != len(m.living()) {
		m.t.Errorf("%d restores and %d instances, want %d and %d", m.copies.restores, len(held), m.restores, len(m.living()))
	}
	for _, c := range m.all {
		if c.ended.IsZero() {
			m.checkLiving(c)
			continue
		}
		_, err := m.Store.Instance(m.t.Context(), c.r.InstanceID)
		wantKind(m.t, err, backstay.NotFound)
		if a, err := m.Store.Archive(m.t.Context(), c.r.InstanceID); err != nil || len(a.Key) == 0 {
			m.t.Errorf("of %s there is the archive %+v, %v", c.r.InstanceID, a, err)
		}
	}
}

// checkLiving holds an instance, and what users are told of it, against the model.
func (m *backupModel) checkLiving(c *copied) {
	m.t.Helper()
	id, now := c.r.InstanceID, m.clock.Now()
	its := m.copies.records[id]
	if got, want := valueAt(its.history, now), valueAt(c.history, now); got != want {
		m.t.Errorf("%s holds %d, want %d", id, got, want)
	}
	if got, want := slices.Sorted(maps.Values(its.values)), values(c.saved); !slices.Equal(got, want) {
		m.t.Errorf("the backups of %s are of %v, want %v", id, got, want)
	}
	op, err := m.LastOperation(m.t.Context(), backstay.LastOperationRequest{InstanceID: id})
	if err != nil || op.State != backstay.Succeeded {
		m.t.Errorf("users are told %+v, %v of %s", op, err, id)
	}
	told, err := m.told(m.t.Context(), id)
	must(m.t, err)
	wants := map[string]any{"skip_final_snapshot": c.skips, "earliest_restorable_time": nil, "last_backup": nil}
	if whole := c.whole(); len(whole) > 0 {
		wants = map[string]any{
			"earliest_restorable_time": whole[0].at.Format(time.DateTime), "latest_restorable_time": now.Format(time.DateTime),
			"last_backup": whole[len(whole)-1].at.Format(time.DateTime), "skip_final_snapshot": c.skips,
		}
	}
	for name, want := range wants {
		if told[name] != want {
			m.t.Errorf("users are told that %s of %s is %v, want %v", name, id, told[name], want)
		}
	}
}

func values(of []written) (sorted []int) {
	for _, w := range of {
		sorted = append(sorted, w.value)
	}
	slices.Sort(sorted)
	return sorted
}

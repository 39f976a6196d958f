package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/window"
)

// tuesday is when the window tue:04:00-tue:04:30 of these tests opens.
var tuesday = time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC)

func tuesdays() terms.Windows {
	return terms.Windows{Maintenance: window.Weekly{Start: 28 * time.Hour, Length: 30 * time.Minute}}
}

func TestDue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		at     time.Duration // after the window has opened
		change func(*view)
		want   task
	}{
		{"nothing", 0, func(*view) {}, nothing},
		{"a wish before the window", -time.Second, func(v *view) { v.Pending.ID = "wish" }, nothing},
		{"a wish as it opens", 0, func(v *view) { v.Pending.ID = "wish" }, pendingTask},
		{"a wish as it closes", 30 * time.Minute, func(v *view) { v.Pending.ID = "wish" }, nothing},
		{"a wish while it is busy", time.Minute, func(v *view) { v.Pending.ID, v.Busy = "wish", true }, nothing},
		{"a wish that has failed in this window", time.Minute, func(v *view) {
			v.Pending.ID, v.Pending.NotBefore = "wish", tuesday.Add(30*time.Minute)
		}, nothing},
		{"a wish that has failed in the window before", time.Minute, func(v *view) {
			v.Pending.ID, v.Pending.NotBefore = "wish", tuesday.Add(30*time.Minute-7*24*time.Hour)
		}, pendingTask},
		{"an upgrade", time.Minute, func(v *view) { v.upgradable = true }, upgradeTask},
		{"an upgrade before the window", -time.Minute, func(v *view) { v.upgradable = true }, nothing},
		{"a wish and an upgrade", time.Minute, func(v *view) { v.Pending.ID, v.upgradable = "wish", true }, pendingTask},
		{"an upgrade beside a wish that has failed", time.Minute, func(v *view) {
			v.Pending.ID, v.Pending.NotBefore, v.upgradable = "wish", tuesday.Add(30*time.Minute), true
		}, upgradeTask},
		{"an upgrade that has failed in this window", time.Minute, func(v *view) {
			v.upgradable, v.Rests = true, tuesday.Add(30*time.Minute)
		}, nothing},
		{"a drill", time.Minute, func(v *view) { v.undrilled = true }, drillTask},
		{"a drill before the window", -time.Minute, func(v *view) { v.undrilled = true }, nothing},
		{"a drill and an upgrade", time.Minute, func(v *view) { v.undrilled, v.upgradable = true, true }, upgradeTask},
		{"a drill and a wish", time.Minute, func(v *view) { v.undrilled, v.Pending.ID = true, "wish" }, pendingTask},
		{"a drill that has failed in this window", time.Minute, func(v *view) {
			v.undrilled, v.Rests = true, tuesday.Add(30*time.Minute)
		}, nothing},
		{"a wish beside an upgrade that has failed", time.Minute, func(v *view) {
			v.Pending.ID, v.upgradable, v.Rests = "wish", true, tuesday.Add(30*time.Minute)
		}, pendingTask},
	} {
		v := view{Scheduled: Scheduled{Windows: tuesdays()}}
		tc.change(&v)
		if got := due(v, tuesday.Add(tc.at)); got != tc.want {
			t.Errorf("%s: task %d, want %d", tc.name, got, tc.want)
		}
	}
}

// TestAllDue has many windows open at once: of each backend only a few instances are worked on, those first whose
// window closes first.
func TestAllDue(t *testing.T) {
	t.Parallel()
	var views []view
	for i := range 20 {
		v := view{Scheduled: Scheduled{Windows: tuesdays(), Backend: fmt.Sprint("machine ", i%2)}, upgradable: true}
		v.ID = backstay.InstanceID(fmt.Sprint(i))
		v.Windows.Maintenance.Length += time.Duration(20-i) * time.Minute
		views = append(views, v)
	}
	views[0].Busy, views[0].Kept = true, true
	begun := map[string]int{}
	got := allDue(views, tuesday)
	for _, v := range got {
		begun[v.Backend]++
	}
	if begun["machine 0"] != maintainedAtOnce-1 || begun["machine 1"] != maintainedAtOnce || got[0].ID != "19" {
		t.Errorf("begun on each: %v, the first of which is %s", begun, got[0].ID)
	}
}

// TestWeeks simulates weeks of 1,000 instances, with wishes, failures, users at work and days on which the machine is
// off, under many seeds: what is due is done once, in its window, and nothing is done outside of one.
func TestWeeks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it decides, and nothing runs beside it")
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			simulateWeeks(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// patient is an instance in the simulation.
type patient struct {
	view
	ends   time.Time // of the operation that is in progress
	does   task
	doomed bool // its first try fails
	done   []task
}

func simulateWeeks(t *testing.T, chance *rand.Rand) {
	patients, wants := make([]patient, 1000), make([][]task, 1000)
	for i := range patients {
		p := &patients[i]
		p.ID = backstay.InstanceID(fmt.Sprint(i))
		p.Windows.Maintenance, p.Windows.Backup = window.Random(chance.Uint64())
		p.upgradable, p.doomed = chance.IntN(2) == 0, chance.IntN(10) == 0
		if chance.IntN(2) == 0 {
			p.Pending.ID = "wish"
		}
		wants[i] = wanted(p)
	}
	begun := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	for now := begun; now.Before(begun.Add(3 * 7 * 24 * time.Hour)); now = now.Add(10 * time.Minute) {
		for i := range patients {
			patients[i].end(now)
		}
		if now.Sub(begun) > 24*time.Hour && now.Sub(begun) < 60*time.Hour {
			continue // the machine is off
		}
		views := make([]view, len(patients))
		for i := range patients {
			views[i] = patients[i].view
		}
		for _, v := range allDue(views, now) {
			i := slices.IndexFunc(views, func(w view) bool { return w.ID == v.ID })
			patients[i].begin(t, now, now.Add(time.Duration(1+chance.IntN(9))*time.Minute))
		}
	}
	for i, p := range patients {
		if !slices.Equal(slices.Sorted(slices.Values(p.done)), wants[i]) {
			t.Errorf("instance %s: done is %v, want %v", p.ID, p.done, wants[i])
		}
	}
}

// wanted is what is to be done to an instance, sorted: after a wish that has failed, an upgrade does not wait a week.
func wanted(p *patient) (tasks []task) {
	if p.Pending.ID != "" {
		tasks = append(tasks, pendingTask)
	}
	if p.upgradable {
		tasks = append(tasks, upgradeTask)
	}
	return tasks
}

func (p *patient) begin(t *testing.T, now, ends time.Time) {
	if opens, _ := p.Windows.Maintenance.Next(now); now.Before(opens) || p.Busy {
		t.Errorf("instance %s is worked on at %s, outside of %s or twice", p.ID, now, p.Windows.Maintenance)
	}
	p.does, p.ends, p.Busy, p.Kept = due(p.view, now), ends, true, true
}

func (p *patient) end(now time.Time) {
	if !p.Busy || now.Before(p.ends) {
		return
	}
	p.Busy, p.Kept = false, false
	opens, closes := p.Windows.Maintenance.Next(now)
	if now.Before(opens) {
		closes = now
	}
	switch {
	case p.doomed && p.does == pendingTask:
		p.doomed, p.Pending.NotBefore = false, closes
		return
	case p.doomed:
		p.doomed, p.Rests = false, closes
		return
	case p.does == pendingTask:
		p.Pending = Pending{}
	case p.does == upgradeTask:
		p.upgradable = false
	}
	p.done = append(p.done, p.does)
}

package broker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// TestOperationTellsWhatADrillSaw: an operation that asks for a restart ends once it is known what that cost clients.
func TestOperationTellsWhatADrillSaw(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, message, parameters, want, told string
		seen                                  backend.Drill
	}{
		{"restarted", "It serves.", `{"reboot": true}`,
			"The service instance was restarted: writes failed for 0.21 s, 0 acknowledged writes were lost, and node 1 went on.",
			`"acknowledged_writes_lost":0`,
			backend.Drill{Failed: 214 * time.Millisecond, Written: 100, Node: "1"}},
		{"taken over, with a loss", "It serves.", `{"reboot": true}`,
			"The standby took over: writes failed for 1.50 s, 1 acknowledged write was lost, and node 2 went on. It is so.",
			`"took_over":true`,
			backend.Drill{Failed: 1500 * time.Millisecond, Written: 9, Lost: 1, Node: "2", Changed: true, Trouble: "It is so."}},
		{"nothing seen", "It serves.", `{"reboot": true}`,
			"The service instance was restarted, and node 1 went on. It was not seen for how long writes failed. It is full.",
			`"exception":"It is full."`,
			backend.Drill{Node: "1", Trouble: "It is full."}},
		{"in rows", "---\n  status : available", `{"reboot": true}`,
			"  last drill           : The service instance was restarted: writes failed for 0.00 s",
			`"acknowledged_writes":5`,
			backend.Drill{Failed: time.Millisecond, Written: 5, Node: "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := onTuesdays(t)
			k.machine.alter(func(s *simulated) {
				s.message, s.seen = c.message, c.seen
				s.seen.Began, s.seen.Ended = began, began.Add(time.Second)
			})
			if op := k.update(c.parameters, ""); op.State != backstay.Succeeded || !strings.Contains(op.Description, c.want) {
				t.Errorf("ended as %+v, want %q", op, c.want)
			}
			fetched, _ := k.fetch()
			var told map[string]json.RawMessage
			must(t, json.Unmarshal(fetched.Parameters, &told))
			if !strings.Contains(string(told["last_drill"]), c.told) {
				t.Errorf("--params tells %s, want %s", told["last_drill"], c.told)
			}
		})
	}
}

// TestDrillsInWindows: of an instance that allows it, one is held in each maintenance window, unless its developers have
// held one in it themselves.
func TestDrillsInWindows(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.machine.alter(func(s *simulated) { s.seen = backend.Drill{Written: 100, Node: "1"} })
	at := func(now time.Time) {
		k.at(now)
		k.machine.alter(func(s *simulated) { s.seen.Began, s.seen.Ended = now, now.Add(time.Second) })
	}
	opens := k.opening()
	at(opens)
	if n := k.maintain(); n != 0 {
		t.Errorf("%d drills are held, and none was to be", n)
	}
	k.Drills = true
	if n := k.maintain(); n != 0 {
		t.Errorf("%d drills are held of an instance that does not allow it", n)
	}
	must(t, k.AllowDrills(t.Context(), k.r.InstanceID, true))
	must(t, k.AllowDrills(t.Context(), "of nobody", true))
	for week := range 3 {
		opens := opens.AddDate(0, 0, 7*week)
		for _, c := range []struct {
			after time.Duration
			held  int
		}{{-time.Minute, 0}, {0, 1}, {5 * time.Minute, 0}, {29 * time.Minute, 0}, {31 * time.Minute, 0}} {
			at(opens.Add(c.after))
			if n := k.maintain(); n != c.held {
				t.Errorf("week %d, %v after the window opened: %d drills are held, want %d", week, c.after, n, c.held)
			}
		}
		if op := k.last(""); !strings.Contains(op.Description, "The service instance was restarted: writes failed for") {
			t.Errorf("a drill ended as %+v", op)
		}
	}
	at(opens.AddDate(0, 0, 21))
	k.update(`{"reboot": true}`, "")
	if n := k.maintain(); n != 0 {
		t.Error("developers have held a drill in this window, and another one is held")
	}
	must(t, k.CheckDrill(t.Context(), k.r.InstanceID))
	k.machine.alter(func(s *simulated) { s.undrillable = true })
	at(opens.AddDate(0, 0, 28))
	if n := k.maintain(); n != 0 {
		t.Error("a drill is held of which nobody sees anything")
	}
	if err := k.CheckDrill(t.Context(), k.r.InstanceID); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("an operator who wants one hears %v", err)
	}
	k.machine.alter(func(s *simulated) { s.undrillable = false })
	must(t, k.AllowDrills(t.Context(), k.r.InstanceID, false))
	if n := k.maintain(); n != 0 {
		t.Error("a drill is held of an instance that allows it no more")
	}
}

package kubernetes

import (
	"testing"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/drill"
)

// TestCallsForDrill before what it looks at is begun, and once for each time that this is asked for.
func TestCallsForDrill(t *testing.T) {
	t.Parallel()
	restart := func(s *situation) { s.record.Restarts = asked{Count: 1, Owed: true} }
	handing := func(s *situation) { s.record.Handed = asked{Count: 1, Owed: true} }
	for name, tc := range map[string]struct {
		change []func(*situation)
		want   bool
	}{
		"nothing":   {nil, false},
		"a restart": {[]func(*situation){restart}, true},
		"a restart of what does not answer": {[]func(*situation){restart, func(s *situation) {
			s.seen = sight{err: silent}
		}}, true},
		"a restart that was begun": {[]func(*situation){restart, func(s *situation) { s.record.Restarts.Noted = true }}, false},
		"a change of the primary":  {[]func(*situation){handing}, true},
		"one that was begun":       {[]func(*situation){handing, func(s *situation) { s.record.Handed.From = "a-1" }}, false},
		"one that waits for the standby": {[]func(*situation){handing, func(s *situation) {
			s.seen.observation.Protected = false
		}}, false},
		"one without an endpoint":       {[]func(*situation){restart, func(s *situation) { s.record.Spec.Private = true }}, false},
		"one that has not served":       {[]func(*situation){restart, func(s *situation) { s.record.Reached = nil }}, false},
		"one of which there is a drill": {[]func(*situation){restart, func(s *situation) { s.record.Drill = &underway{Generation: 3} }}, false},
		"one of which there was a drill": {[]func(*situation){restart, func(s *situation) {
			s.record.Drills = []backend.Drill{{Generation: 3}}
		}}, false},
		"one behind another": {[]func(*situation){restart, func(s *situation) {
			s.record.Drill, s.record.Drills = &underway{Generation: 2, Told: true}, []backend.Drill{{Generation: 2}}
		}}, true},
	} {
		s := serving(2).newer()
		for _, change := range tc.change {
			change(&s)
		}
		if got := s.callsForDrill(); got != tc.want {
			t.Errorf("%s calls for a drill: %t", name, got)
		}
	}
}

// TestWithDrill tells what was seen of a drill once, also where it is told again behind a kill, and of the last ones.
func TestWithDrill(t *testing.T) {
	t.Parallel()
	var r record
	for generation := range int64(drill.Most + 5) {
		r.Drill = &underway{Generation: generation}
		if last := r.lastDrill(); last.Generation != generation || !last.Ended.IsZero() {
			t.Errorf("one goes on, and the last is %+v", last)
		}
		if other := r.withDrill(backend.Drill{Generation: generation + 1}); len(other.Drills) != len(r.Drills) {
			t.Error("what was seen of another one is told")
		}
		seen := backend.Drill{Generation: generation, Ended: minute(int(generation)), Written: 7}
		before := len(r.Drills)
		r = r.withDrill(seen).withDrill(seen)
		if last := r.lastDrill(); *last != seen || len(r.Drills) != min(before+1, drill.Most) || !r.Drill.Told {
			t.Errorf("of %d drills the last is %+v", len(r.Drills), last)
		}
		r.Drill = nil
	}
	if first := r.Drills[0].Generation; first != 5 {
		t.Errorf("the oldest that is remembered is %d", first)
	}
}

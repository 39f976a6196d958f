package instance

import (
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
)

// TestOvertakenGenerationIsNotStarted: of a generation that was started and never served, nobody knows the Spec once
// another is wanted. The primary of a protected pair is started again with the one before, so that its standby stays one.
func TestOvertakenGenerationIsNotStarted(t *testing.T) {
	t.Parallel()
	v := view{wish: wish{generation: 4}, reached: 2, before: 2, checked: 4, looked: true, sized: true}
	v.second = secondView{wanted: true, there: true, inStep: true, data: true}
	for started, want := range map[int64]int64{2: 2, 3: 2} {
		v.started = started
		if a := decide(v, time.Unix(1e9, 0)); a.verb != toStart || a.generation != want {
			t.Errorf("generation %d was started: %s %d, want start %d", started, a.verb, a.generation, want)
		}
	}
	if v.second.later = true; v.toBegin() != 4 {
		t.Errorf("start %d, want what is wanted, where that is of two nodes too", v.toBegin())
	}
}

// TestWhoHandsOverIsAsked, before each try: a primary that cannot serve could not hand anything over, and nobody would
// find that out.
func TestWhoHandsOverIsAsked(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	v := view{wish: wish{generation: 1}, started: 1, looked: true, sized: true, alive: true, answers: true}
	v.second = secondView{
		wanted: true, there: true, data: true, inStep: true, alive: true, started: 1, follows: true, due: true, asked: now,
	}
	if a := decide(v, now); a.verb != toAsk {
		t.Errorf("%s, want ask", a.verb)
	}
	if v.asked = now; decide(v, now).verb != toHandOver {
		t.Errorf("%s, want hand over", decide(v, now).verb)
	}
	v.silent, v.damaged = now, now
	if a := decide(v, now); a.verb != toRest || a.until.After(now.Add(askEvery)) {
		t.Errorf("%s until %v, want rest until it is asked again", a.verb, a.until)
	}
}

// TestReturnedOnce has an instance served from the data that it has returned to, though the data before had fewer
// restores: it asked for that.
func TestReturnedOnce(t *testing.T) {
	t.Parallel()
	was := backend.Spec{Generation: 11, Version: "17"}
	r := Record{
		Spec: backend.Spec{Generation: 12, Version: "16", RollBack: true}, Before: &was, BeforeData: "data", Data: "data",
		Kept: &Kept{Data: "data-10", Version: "16", Restores: 4}, Reached: 11,
	}
	if way := r.way(12, "17"); way != byReturn {
		t.Fatalf("the way to the data is %d, want to return to it", way)
	}
	r.takeFor(12, "data-10", "17", time.Unix(1e9, 0))
	if way := r.way(12, "16"); way != asItIs {
		t.Errorf("the way to the data is %d, want none: it is in use", way)
	}
	if way := r.way(11, "16"); way != byReturn {
		t.Errorf("the way to the data before is %d, want to return to it", way)
	}
}

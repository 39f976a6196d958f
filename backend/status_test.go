package backend_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// TestUnwell follows one instance from its first start to its end.
func TestUnwell(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	var told backend.Status
	for _, step := range []struct {
		at           time.Duration
		phase        backend.Phase
		generation   int64
		obstacle     string
		trouble      string
		unwell, down bool
	}{
		{at: 0, phase: backend.Preparing},
		{at: time.Hour, phase: backend.Starting}, // the first time, however long it takes
		{at: time.Hour, phase: backend.Failing, unwell: true},
		{at: 2 * time.Hour, phase: backend.Running, generation: 1},
		{at: 3 * time.Hour, phase: backend.Starting, generation: 1},
		{at: 3*time.Hour + 5*time.Second, phase: backend.Starting, generation: 1},
		{at: 3*time.Hour + 6*time.Second, phase: backend.Preparing, generation: 1, unwell: true, down: true},
		{at: 3*time.Hour + 7*time.Second, phase: backend.Running, generation: 1},
		{at: 3*time.Hour + 8*time.Second, phase: backend.Starting, generation: 1}, // it counts anew
		{at: 3*time.Hour + 9*time.Second, phase: backend.Failing, generation: 1, unwell: true},
		{at: 3*time.Hour + 14*time.Second, phase: backend.Failing, generation: 1, unwell: true, down: true},
		{at: 4 * time.Hour, phase: backend.Running, generation: 1, obstacle: "It has no room.", unwell: true},
		{at: 5 * time.Hour, phase: backend.Running, generation: 1, trouble: "It is nearly full.", unwell: true},
		{at: 6 * time.Hour, phase: backend.Starting, generation: 1, trouble: "It is nearly full.", unwell: true},
		{at: 7 * time.Hour, phase: backend.Removing, generation: 1},
	} {
		now := began.Add(step.at)
		next := backend.Status{Phase: step.phase, Generation: step.generation}
		if step.obstacle != "" {
			next.Obstacle = backend.Obstacle{Generation: 2, Sentence: step.obstacle}
		}
		if step.trouble != "" {
			next.Troubles = []backstay.Trouble{{Kind: "storage", Sentence: step.trouble}}
		}
		told = next.After(told, now)
		if told.Unwell(now) != step.unwell || told.IsDown(now) != step.down {
			t.Errorf("behind %s, %s: unwell %t, down %t; want %t, %t",
				step.at, step.phase, told.Unwell(now), told.IsDown(now), step.unwell, step.down)
		}
	}
}

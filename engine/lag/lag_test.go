package lag

import (
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
)

// TestLagIsMeasured by when the primary's log had ended where a standby's clients read now, as far as was
// seen.
func TestLagIsMeasured(t *testing.T) {
	t.Parallel()
	type look struct {
		end, read int64
		says      time.Duration // the engine
		away      bool
		want      time.Duration
	}
	for name, looks := range map[string][]look{
		"it keeps up":                      {{end: 5, read: 5}, {end: 9, read: 9}, {end: 9, read: 9}},
		"it is a moment behind":            {{end: 5, read: 4}, {end: 9, read: 8}, {end: 12, read: 11}},
		"it stands still":                  {{end: 5, read: 5}, {end: 9, read: 5}, {end: 12, read: 5, want: 1}, {end: 12, read: 5, want: 2}},
		"and goes on":                      {{end: 5, read: 5}, {end: 9, read: 5}, {end: 12, read: 5, want: 1}, {end: 20, read: 9, want: 1}, {end: 20, read: 20}},
		"nothing was written for long":     {{end: 5, read: 5}, {end: 9, read: 5, says: time.Hour}, {end: 9, read: 9}},
		"a keeper finds it behind":         {{end: 9, read: 5, says: 7 * time.Second, want: 7}, {end: 12, read: 5, says: 8 * time.Second, want: 8}, {end: 12, read: 9, want: 1}},
		"it has not followed yet":          {{end: 9, read: 5, says: 7 * time.Second, away: true}, {end: 9, read: 9}},
		"it is cut off, and nothing comes": {{end: 5, read: 5}, {end: 5, read: 5, away: true}, {end: 5, read: 5, away: true}},
		"it is cut off":                    {{end: 5, read: 5}, {end: 9, read: 5, away: true}, {end: 12, read: 5, away: true, want: 1}},
		"its place is not known":           {{end: 5, read: 5}, {away: true, want: 1}, {away: true, want: 2}, {end: 9, read: 9}},
		"the log begins anew":              {{end: 500, read: 400}, {end: 900, read: 400, want: 1}, {end: 3, read: 3}, {end: 9, read: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, now := Gauge{}, time.Unix(1e9, 0)
			for i, l := range looks {
				g.Look(engine.Following{Streams: !l.away, Lag: l.says, End: l.end, Read: l.read}, now)
				if want := l.want * time.Second; g.LagAt(now) != want {
					t.Errorf("look %d: it is %v behind, want %v", i+1, g.LagAt(now), want)
				}
				now = now.Add(time.Second)
			}
		})
	}
}

// TestLagOfLong is measured though not every look of it is kept.
func TestLagOfLong(t *testing.T) {
	t.Parallel()
	g, now := Gauge{}, time.Unix(1e9, 0)
	const looks = 5000
	for i := range int64(looks) {
		g.Look(engine.Following{Streams: true, End: 10 + i}, now)
		now = now.Add(time.Second)
	}
	if want := looks * time.Second; g.LagAt(now) != want || len(g.marks) > mostMarks {
		t.Errorf("it is %v behind by %d marks, want %v", g.LagAt(now), len(g.marks), want)
	}
	g.Look(engine.Following{Streams: true, End: 10 + looks, Read: 10 + looks/2}, now)
	if g.LagAt(now) < looks*4/10*time.Second || g.LagAt(now) > looks/2*time.Second {
		t.Errorf("half-way it is %v behind", g.LagAt(now))
	}
}

// TestJudge has a node that was too far behind be read from again once it is behind by half of the limit.
func TestJudge(t *testing.T) {
	t.Parallel()
	g, now := Gauge{}, time.Unix(1e9, 0)
	const limit = 10 * time.Second
	g.Look(engine.Following{Streams: true, End: 1, Read: 1}, now)
	for i, step := range []struct {
		behind        time.Duration
		changed, late bool
	}{
		{0, false, false}, {10, false, false}, {11, true, true}, {10, false, true}, {6, false, true}, {5, true, false},
		{6, false, false},
	} {
		changed := g.Judge(now.Add(step.behind*time.Second), limit)
		if changed != step.changed || g.IsLate() != step.late {
			t.Errorf("step %d: changed %t, late %t, want %t, %t", i+1, changed, g.IsLate(), step.changed, step.late)
		}
	}
}

package backup_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/window"
)

const day = 24 * time.Hour

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func mustParse(t *testing.T, text string) window.Daily {
	t.Helper()
	w, err := window.ParseDaily(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestDue(t *testing.T) {
	t.Parallel()
	w := mustParse(t, "23:30-00:30")
	_, moment := backup.Due(start, w, 7, start.Add(12*time.Hour)) // the one of the night that follows
	if opens, closes := w.Next(moment); moment.Before(opens) || !moment.Before(closes) {
		t.Fatalf("%s is outside of the window %s", moment, w)
	}
	for name, tc := range map[string]struct {
		last, now time.Time
		due       bool
	}{
		"none yet":                  {time.Time{}, start, true},
		"just before":               {moment.Add(-day), moment.Add(-time.Nanosecond), false},
		"at the moment":             {moment.Add(-day), moment, true},
		"taken":                     {moment, moment.Add(time.Second), false},
		"missed, hours later":       {moment.Add(-day), moment.Add(9 * time.Hour), true},
		"missed, months later":      {moment.Add(-90 * day), moment, true},
		"asked for, shortly before": {moment.Add(-time.Minute), moment, true},
	} {
		due, next := backup.Due(tc.last, w, 7, tc.now)
		if due != tc.due || !next.After(tc.now) || next.Sub(tc.now) > day {
			t.Errorf("%s: due %t, next at %s; want %t, after %s", name, due, next, tc.due, tc.now)
		}
	}
}

// TestBackupsSpreadOverTheWindow counts the moments of many instances with one window in each sixth of it.
func TestBackupsSpreadOverTheWindow(t *testing.T) {
	t.Parallel()
	w := mustParse(t, "02:00-05:00")
	var sixths [6]int
	for chance := range uint64(600) {
		_, next := backup.Due(start, w, chance, start)
		sixths[int(next.Sub(start)-2*time.Hour)/int(30*time.Minute)]++
	}
	for i, n := range sixths {
		if n < 60 || n > 140 {
			t.Errorf("%d of 600 backups are in the sixth %d of the window", n, i)
		}
	}
}

// life is an instance whose backups are simulated.
type life struct {
	t      *testing.T
	chance *rand.Rand
	days   int
	window window.Daily
	now    time.Time
	list   []backstay.Backup
	first  time.Time // from when on any second can be restored; zero: none can
	taken  int
}

func (l *life) backUp() {
	l.taken++
	began := l.now
	l.now = l.now.Add(time.Duration(l.chance.Int64N(int64(2 * time.Hour))))
	l.list = append(l.list, backstay.Backup{ID: fmt.Sprint(l.taken), Began: began, Ended: l.now})
	if l.first.IsZero() {
		l.first = l.now
	}
}

func (l *life) expire() {
	keep := backup.Keep(l.list, l.days, l.now)
	l.list = slices.DeleteFunc(l.list, func(b backstay.Backup) bool { return !slices.Contains(keep, b.ID) })
}

// damage spoils a backup, or mends one. What it was the only one to reach is lost then.
func (l *life) damage() {
	if len(l.list) == 0 {
		return
	}
	harmed := &l.list[l.chance.IntN(len(l.list))]
	if harmed.Damaged != "" {
		harmed.Damaged = ""
		return
	}
	harmed.Damaged = "A bit of it is flipped."
	whole := backup.Whole(l.list)
	switch {
	case len(whole) == 0:
		l.first = time.Time{}
	case whole[0].Ended.After(l.first): // they are in their order
		l.first = whole[0].Ended
	}
}

// makeUp takes the backup that is due at once where there is damage, after which there is nothing to make up for.
func (l *life) makeUp() {
	if backup.Lacks(l.list, nil, l.now) {
		l.backUp()
	}
	if backup.Lacks(l.list, nil, l.now) {
		l.t.Errorf("behind another backup, one is due at once of %+v", l.list)
	}
}

// check tries moments of the days that are promised: each has a backup to begin from.
func (l *life) check() {
	l.t.Helper()
	if l.first.IsZero() {
		return
	}
	oldest := l.now.Add(-time.Duration(l.days) * day)
	if oldest.Before(l.first) {
		oldest = l.first
	}
	at := oldest
	for range 5 {
		kept := backend.Backups{Instance: "i", List: l.list}
		kept.Earliest, kept.Latest = backup.Range(l.list, nil, l.now)
		wish := backend.Origin{At: at.Add(time.Second).Truncate(time.Second)}
		if wish.At.After(kept.Latest) {
			continue
		}
		if _, err := backup.Reach(kept, wish); err != nil {
			l.t.Fatalf("at %s, %s cannot be reached: %v", l.now, at, err)
		}
		at = oldest.Add(time.Duration(l.chance.Int64N(int64(l.now.Sub(oldest) + 1))))
	}
}

// TestMonths lives through half a year of an instance, with nights that are missed, backups that fail or are asked for,
// windows that move, and backups that are damaged. Every second of the days that are promised can be restored at any
// time, unless all that was kept to reach it is damaged, and no more is kept than that takes.
func TestMonths(t *testing.T) {
	t.Parallel()
	for range 100 {
		seed := rand.Uint64()
		l := &life{t: t, chance: rand.New(rand.NewPCG(seed, 0)), now: start, window: mustParse(t, "02:00-05:00")}
		l.days = 1 + l.chance.IntN(10)
		asked := 0
		for l.now.Before(start.Add(180 * day)) {
			l.now = l.now.Add(time.Duration(l.chance.Int64N(int64(6 * time.Hour))))
			switch l.chance.IntN(40) {
			case 3, 4:
				l.damage()
				l.check()
				l.makeUp()
				asked++
			case 0: // the machine is off
				l.now = l.now.Add(time.Duration(l.chance.Int64N(int64(5 * day))))
			case 1:
				asked++
				l.backUp()
			case 2:
				_, l.window, _ = window.Complete(l.chance.Uint64(), window.Weekly{}, window.Daily{})
			}
			due, _ := backup.Due(backup.Last(l.list, l.now), l.window, seed, l.now)
			if due && l.chance.IntN(4) > 0 { // the others fail
				l.backUp()
			}
			l.check()
			l.expire()
			l.check()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		if most := 2*l.days + 4 + asked; len(l.list) > most {
			t.Errorf("seed %d: %d backups are kept for %d days, of which %d were asked for", seed, len(l.list), l.days, asked)
		}
	}
}

// TestAWrongClock jumps a year ahead for one night, and back.
func TestAWrongClock(t *testing.T) {
	t.Parallel()
	l := &life{t: t, chance: rand.New(rand.NewPCG(1, 1)), now: start, window: mustParse(t, "02:00-05:00"), days: 7}
	night := func() {
		if due, _ := backup.Due(backup.Last(l.list, l.now), l.window, 1, l.now); due {
			l.backUp()
		}
		l.expire()
	}
	for range 20 {
		night()
		l.now = l.now.Add(day)
	}
	before := l.now
	l.now = l.now.Add(365 * day)
	night()
	if len(l.list) < 7 {
		t.Errorf("one wrong night leaves %d backups", len(l.list))
	}
	l.now = before
	taken := l.taken
	for range 5 {
		for range 10 { // a backup of the future does not make one due again and again
			night()
		}
		l.now = l.now.Add(day)
	}
	if l.taken-taken < 5 || l.taken-taken > 6 {
		t.Errorf("in five days behind the wrong one, %d backups were taken", l.taken-taken)
	}
}

// TestTheLastBackupStays of an instance that was removed, while those before it go.
func TestTheLastBackupStays(t *testing.T) {
	t.Parallel()
	list := nightly(7)
	list[6].Final = true
	for days, want := range map[int]int{0: 7, 3: 5, 7: 1, 30: 1} {
		if kept := backup.Keep(list, 7, list[6].Ended.Add(time.Duration(days)*day)); len(kept) != want ||
			kept[len(kept)-1] != "7" {
			t.Errorf("%d days after the removal %v are kept, want %d", days, kept, want)
		}
	}
	if kept := backup.Keep(nil, 7, start); len(kept) != 0 {
		t.Errorf("of nothing, %v is kept", kept)
	}
}

// nightly are backups "1", "2" and so on, each taken from 02:00 to 03:00.
func nightly(count int) (list []backstay.Backup) {
	for i := range count {
		at := start.Add(time.Duration(i) * day)
		list = append(list, backstay.Backup{ID: fmt.Sprint(i + 1), Began: at.Add(2 * time.Hour), Ended: at.Add(3 * time.Hour)})
	}
	return list
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse("01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return moment.AddDate(2026, 0, 0)
}

// TestRangeEndsWithTheArchive, which may not have reached the end of the last backup yet.
func TestRangeEndsWithTheArchive(t *testing.T) {
	t.Parallel()
	list := nightly(3) // the last one from 01-03 02:00:00
	for _, until := range []time.Time{at(t, "01-02 23:59:59"), at(t, "01-03 02:59:59"), at(t, "01-03 03:00:01")} {
		earliest, latest := backup.Range(list, nil, until.Add(time.Second-1))
		if !latest.Equal(until) || !earliest.Equal(list[0].Ended) {
			t.Errorf("from %s until %s can be restored, want until %s", earliest, latest, until)
		}
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	kept := backend.Backups{Instance: "i", List: nightly(4),
		Gaps: []backstay.Gap{{From: at(t, "01-02 10:00:00"), Until: at(t, "01-03 03:00:00")}}}
	kept.Earliest, kept.Latest = backup.Range(kept.List, kept.Gaps, at(t, "01-04 12:00:00"))
	plain := kept
	plain.Earliest, plain.Latest, plain.Gaps = time.Time{}, time.Time{}, nil
	harmed := func(of backend.Backups, ids ...string) backend.Backups {
		of.List = slices.Clone(of.List)
		for i, b := range of.List {
			if slices.Contains(ids, b.ID) {
				of.List[i].Damaged = "A part of it is gone."
			}
		}
		of.Earliest, of.Latest = backup.Range(of.List, of.Gaps, of.Latest)
		return of
	}
	broken := kept // behind the backup that is the newest, at once
	broken.Gaps = []backstay.Gap{{From: at(t, "01-04 01:00:00"), Until: at(t, "01-04 12:00:00")}}
	torn := kept // some time after it
	torn.Gaps = append(slices.Clone(kept.Gaps), backstay.Gap{From: at(t, "01-04 11:00:00"), Until: at(t, "01-04 11:30:00")})
	torn = harmed(torn)
	until := func(id, text string) engine.Point { return engine.Point{Backup: id, Until: at(t, text)} }
	const whole = "can be restored to any second from 2026-01-01 03:00:00 until 2026-01-04 12:00:00, UTC"
	for name, tc := range map[string]struct {
		of    backend.Backups
		wish  backend.Origin
		want  engine.Point
		words string
	}{
		"the end":                 {kept, backend.Origin{}, engine.Point{Backup: "4"}, ""},
		"the end, up to a gap":    {kept, backend.Origin{Backup: "2"}, until("2", "01-02 10:00:00"), ""},
		"the end, behind the gap": {kept, backend.Origin{Backup: "3"}, engine.Point{Backup: "3"}, ""},
		"a moment":                {kept, backend.Origin{At: at(t, "01-02 09:59:59")}, until("2", "01-02 09:59:59"), ""},
		"the first":               {kept, backend.Origin{At: at(t, "01-01 03:00:00")}, until("1", "01-01 03:00:00"), ""},
		"the last":                {kept, backend.Origin{At: at(t, "01-04 12:00:00")}, until("4", "01-04 12:00:00"), ""},
		"from an older backup": {kept, backend.Origin{Backup: "1", At: at(t, "01-02 09:00:00")},
			until("1", "01-02 09:00:00"), ""},
		"too early":    {kept, backend.Origin{At: at(t, "01-01 02:59:59")}, engine.Point{}, whole + ", except in gaps."},
		"too late":     {kept, backend.Origin{At: at(t, "01-04 12:00:01")}, engine.Point{}, whole},
		"in the gap":   {kept, backend.Origin{At: at(t, "01-02 10:00:01")}, engine.Point{}, "from 2026-01-02 10:00:00 until"},
		"over the gap": {kept, backend.Origin{Backup: "2", At: at(t, "01-03 09:00:00")}, engine.Point{}, "gap of the archive"},
		"before the backup": {kept, backend.Origin{Backup: "3", At: at(t, "01-02 09:00:00")}, engine.Point{},
			"was ready at 2026-01-03 03:00:00"},
		"alone, the newest": {plain, backend.Origin{Alone: true}, engine.Point{Backup: "4", Alone: true}, ""},
		"alone, before": {plain, backend.Origin{Alone: true, At: at(t, "01-03 02:59:59")},
			engine.Point{Backup: "2", Alone: true}, ""},
		"alone, by name":    {plain, backend.Origin{Alone: true, Backup: "1"}, engine.Point{Backup: "1", Alone: true}, ""},
		"alone, too early":  {plain, backend.Origin{Alone: true, At: start}, engine.Point{}, "was ready at 2026-01-01 03:00:00"},
		"alone, unknown":    {plain, backend.Origin{Alone: true, Backup: "9"}, engine.Point{}, "there are 1, 2, 3, 4."},
		"nothing behind it": {broken, backend.Origin{}, engine.Point{Backup: "4", Alone: true}, ""},
		"a moment, from the one before": {harmed(kept, "4"), backend.Origin{At: at(t, "01-04 11:00:00")},
			until("3", "01-04 11:00:00"), ""},
		"the end, from the one before": {harmed(kept, "4"), backend.Origin{}, engine.Point{Backup: "3"}, ""},
		"alone, the newest that is whole": {harmed(plain, "3", "4"), backend.Origin{Alone: true},
			engine.Point{Backup: "2", Alone: true}, ""},
		"alone, by At, the one before": {harmed(plain, "2"), backend.Origin{Alone: true, At: at(t, "01-02 04:00:00")},
			engine.Point{Backup: "1", Alone: true}, ""},
		"damaged, by name": {harmed(kept, "2"), backend.Origin{Backup: "2"}, engine.Point{},
			"there are 1, 3, 4. The backup of 2026-01-02 03:00:00 is damaged."},
		"no whole one before it": {harmed(kept, "1"), backend.Origin{At: at(t, "01-01 09:00:00")}, engine.Point{},
			"can be restored to any second from 2026-01-02 03:00:00 until 2026-01-04 12:00:00, UTC, except in gaps. " +
				"The backup of 2026-01-01 03:00:00 is damaged."},
		"no whole one behind the gap": {harmed(kept, "3"), backend.Origin{At: at(t, "01-03 09:00:00")}, engine.Point{},
			"until the backup of 2026-01-04 03:00:00. The backup of 2026-01-03 03:00:00 is damaged."},
		"nothing but gaps": {backend.Backups{Instance: "i", List: nightly(1), Gaps: broken.Gaps},
			backend.Origin{At: at(t, "01-02 09:00:00")}, engine.Point{}, "an archive with gaps behind them"},
		"none is whole": {harmed(plain, "1", "2", "3", "4"), backend.Origin{}, engine.Point{},
			"Nothing can be restored of the instance i: 4 backups are damaged, of 2026-01-01 03:00:00 to 2026-01-04 03:00:00."},
		"behind a loss": {torn, backend.Origin{At: at(t, "01-04 12:00:00")}, engine.Point{},
			"until 2026-01-04 11:00:00, UTC, except in gaps; the archive has lost what was written between " +
				"2026-01-04 11:00:00 and 2026-01-04 11:30:00, so that nothing behind it"},
		"no archive": {plain, backend.Origin{At: at(t, "01-02 09:00:00")}, engine.Point{}, "has backups and no archive"},
		"no backup":  {backend.Backups{Instance: "i"}, backend.Origin{}, engine.Point{}, "There is no backup"},
	} {
		got, err := backup.Reach(tc.of, tc.wish)
		if tc.words == "" && (err != nil || got != tc.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
		if tc.words != "" && (backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), tc.words)) {
			t.Errorf("%s: %v, want %q", name, err, tc.words)
		}
	}
}

// TestPassedBackups are named to whoever gets an older one than they were to expect.
func TestPassedBackups(t *testing.T) {
	t.Parallel()
	kept := backend.Backups{Instance: "i", List: nightly(5)}
	for _, i := range []int{0, 2, 3} {
		kept.List[i].Damaged = "A part of it is gone."
	}
	for _, tc := range []struct {
		wish backend.Origin
		to   engine.Point
		want string
	}{
		{backend.Origin{}, engine.Point{Backup: "5"}, ""},
		{backend.Origin{At: at(t, "01-04 12:00:00")}, engine.Point{Backup: "2"}, "The backups of 2026-01-03 03:00:00 and " +
			"2026-01-04 03:00:00 are damaged. That of 2026-01-02 03:00:00 is restored instead, with the archive behind it."},
		{backend.Origin{At: at(t, "01-03 12:00:00"), Alone: true}, engine.Point{Backup: "2", Alone: true},
			"The backup of 2026-01-03 03:00:00 is damaged. That of 2026-01-02 03:00:00 is restored instead."},
		{backend.Origin{Backup: "2"}, engine.Point{Backup: "2"}, ""},
		{backend.Origin{}, engine.Point{Backup: "5", Until: at(t, "01-05 12:00:00")},
			"The archive has lost what was written since 2026-01-05 12:00:00."},
		{backend.Origin{}, engine.Point{Backup: "5", Alone: true}, "The archive has lost what was written since."},
	} {
		if got := backup.Passed(kept, tc.wish, tc.to); got != tc.want {
			t.Errorf("%+v by %+v: %q, want %q", tc.wish, tc.to, got, tc.want)
		}
	}
}

// TestDamageIsMadeUpFor at once where only another backup does.
func TestDamageIsMadeUpFor(t *testing.T) {
	t.Parallel()
	now := at(t, "01-03 12:00:00")
	lost := []backstay.Gap{{From: at(t, "01-03 04:00:00"), Until: at(t, "01-03 05:00:00")}}
	before := []backstay.Gap{{From: at(t, "01-02 04:00:00"), Until: at(t, "01-02 05:00:00")}}
	ahead := nightly(3)
	ahead[2].Began, ahead[2].Damaged = now.Add(time.Hour), "A part of it is gone."
	old, newest := nightly(3), nightly(3)
	old[1].Damaged, newest[2].Damaged = "A part of it is gone.", "A part of it is gone."
	for name, tc := range map[string]struct {
		list []backstay.Backup
		lost []backstay.Gap
		want bool
	}{
		"none": {nil, nil, false}, "whole": {nightly(3), before, false}, "an older one is damaged": {old, nil, false},
		"the newest one is damaged": {newest, nil, true}, "the log behind it is lost": {nightly(3), lost, true},
		"of a clock that was wrong": {ahead, nil, false},
	} {
		if got := backup.Lacks(tc.list, tc.lost, now); got != tc.want {
			t.Errorf("%s: another one is due at once: %v", name, got)
		}
	}
}

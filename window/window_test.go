package window_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/window"
)

func TestParseWeekly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want, words string }{
		{"Tue:04:00-Tue:04:30", "tue:04:00-tue:04:30", ""},
		{"MON:00:00-mOn:23:59", "mon:00:00-mon:23:59", ""},
		{"sun:23:00-mon:01:30", "sun:23:00-mon:01:30", ""},
		{"wed:23:45-thu:00:15", "wed:23:45-thu:00:15", ""},
		{"wed:23:45-thu:23:44", "wed:23:45-thu:23:44", ""},
		{"wed:03:32-wed:04:01", "", `at least 30 minutes; "wed:03:32-wed:04:01" takes 29 minutes`},
		{"wed:03:32-wed:03:33", "", "takes 1 minute."},
		{"wed:03:32-wed:03:32", "", "takes 0 minutes"},
		{"wed:03:32-thu:03:32", "", `shorter than 24 hours; "wed:03:32-thu:03:32" takes 24 hours.`},
		{"wed:04:00-wed:03:30", "", "takes 167 hours and 30 minutes"},
		{"", "", "is written DAY:HH:MM-DAY:HH:MM"},
		{"tue:04:00", "", "is written DAY:HH:MM-DAY:HH:MM"},
		{"tuesday:04:00-tue:04:30", "", `such as tue:04:00-tue:04:30; "tuesday:04:00-tue:04:30" is not.`},
		{"tue:4:00-tue:4:30", "", "is written"},
		{"tue:24:00-wed:00:30", "", "is written"},
		{"tue:04:60-tue:05:30", "", "is written"},
		{"tue:04:00-tue:04:30-wed:04:00", "", "is written"},
		{" tue:04:00-tue:04:30", "", "is written"},
		{"tue:04:00-tue:04:30 ", "", "is written"},
		{"tue:04:00–tue:04:30", "", "is written"},
		{"02:00-05:00", "", "is written"},
	} {
		w, err := window.ParseWeekly(tc.text)
		wants(t, tc.text, w, err, tc.want, tc.words)
	}
}

func TestParseDaily(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want, words string }{
		{"02:00-05:00", "02:00-05:00", ""},
		{"23:45-00:15", "23:45-00:15", ""},
		{"12:00-11:59", "12:00-11:59", ""},
		{"02:00-02:29", "", `A backup window takes at least 30 minutes; "02:00-02:29" takes 29 minutes.`},
		{"02:00-02:00", "", "takes 0 minutes"},
		{"2:00-3:00", "", "is written HH:MM-HH:MM"},
		{"24:00-01:00", "", "is written"},
		{"mon:02:00-mon:03:00", "", "is written"},
		{"", "", "is written"},
	} {
		d, err := window.ParseDaily(tc.text)
		wants(t, tc.text, d, err, tc.want, tc.words)
	}
}

func wants(t *testing.T, text string, got interface{ String() string }, err error, want, words string) {
	t.Helper()
	switch {
	case words == "" && (err != nil || got.String() != want):
		t.Errorf("%q is read as %s, %v; want %s", text, got, err, want)
	case words != "" && (backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), words)):
		t.Errorf("%q: %v, want %q", text, err, words)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"Tue:04:00-Tue:04:30", "sun:23:00-mon:01:30", "02:00-05:00", "-", ":-:", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if w, err := window.ParseWeekly(text); err == nil {
			again, err := window.ParseWeekly(w.String())
			if err != nil || again != w || !strings.EqualFold(w.String(), text) {
				t.Errorf("%q is %s, which is read as %s, %v", text, w, again, err)
			}
		} else if backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%q: %v", text, err)
		}
		if d, err := window.ParseDaily(text); err == nil {
			if again, err := window.ParseDaily(d.String()); err != nil || again != d || d.String() != text {
				t.Errorf("%q is %s, which is read as %s, %v", text, d, again, err)
			}
		} else if backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ window, now, opens string }{ // 2026-11-30 is a Monday
		{"tue:04:00-tue:04:30", "2026-11-30T00:00:00Z", "2026-12-01T04:00:00Z"},
		{"tue:04:00-tue:04:30", "2026-12-01T03:59:59Z", "2026-12-01T04:00:00Z"},
		{"tue:04:00-tue:04:30", "2026-12-01T04:00:00Z", "2026-12-01T04:00:00Z"},
		{"tue:04:00-tue:04:30", "2026-12-01T04:29:59Z", "2026-12-01T04:00:00Z"},
		{"tue:04:00-tue:04:30", "2026-12-01T04:30:00Z", "2026-12-08T04:00:00Z"},
		{"sun:23:00-mon:01:30", "2026-11-30T01:29:00Z", "2026-11-29T23:00:00Z"},
		{"sun:23:00-mon:01:30", "2026-11-30T01:30:00Z", "2026-12-06T23:00:00Z"},
		{"mon:00:00-mon:00:30", "2026-11-29T23:59:59Z", "2026-11-30T00:00:00Z"},
		{"mon:00:00-mon:00:30", "2026-11-30T01:15:00+01:00", "2026-11-30T00:00:00Z"},
	} {
		w, err := window.ParseWeekly(tc.window)
		if err != nil {
			t.Fatal(err)
		}
		opens, closes := w.Next(at(t, tc.now))
		if !opens.Equal(at(t, tc.opens)) || closes.Sub(opens) != w.Length {
			t.Errorf("%s after %s opens at %s and closes at %s, want %s", w, tc.now, opens, closes, tc.opens)
		}
	}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

// TestSimulation holds what is computed to what counting the minutes of a week says.
func TestSimulation(t *testing.T) {
	t.Parallel()
	monday := at(t, "2026-11-30T00:00:00Z")
	for seed := range uint64(300) {
		chance := rand.New(rand.NewPCG(seed, 1))
		w := window.Weekly{Start: minutes(chance.IntN(7 * 24 * 60)), Length: minutes(30 + chance.IntN(24*60-30))}
		d := window.Daily{Start: minutes(chance.IntN(24 * 60)), Length: minutes(30 + chance.IntN(24*60-30))}
		overlap := false
		for minute := range 7 * 24 * 60 {
			now := monday.Add(minutes(minute))
			weekly, daily := open(t, now, w.Start, w.Length, 7*24*60, w.Next), open(t, now, d.Start, d.Length, 24*60, d.Next)
			overlap = overlap || weekly && daily
		}
		if w.Overlaps(d) != overlap {
			t.Fatalf("seed %d: %s and %s are said to overlap: %t", seed, w, d, !overlap)
		}
	}
}

// open reports by counting whether a window is open at now, and holds next to that.
func open(
	t *testing.T, now time.Time, start, length time.Duration, period int, next func(time.Time) (o, c time.Time),
) bool {
	t.Helper()
	monday := at(t, "2026-11-30T00:00:00Z")
	minute, first := int(now.Sub(monday).Minutes())%period, int(start.Minutes())
	sinceOpening := (minute - first + period) % period
	isOpen := sinceOpening < int(length.Minutes())
	opens, closes := next(now)
	switch {
	case isOpen && !opens.Equal(now.Add(-minutes(sinceOpening))),
		!isOpen && !opens.Equal(now.Add(minutes(period-sinceOpening))),
		closes.Sub(opens) != length, !closes.After(now):
		t.Fatalf("at %s a window of %s, which began %d minutes ago, opens at %s and closes at %s",
			now, length, sinceOpening, opens, closes)
	}
	return isOpen
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }

func TestRandom(t *testing.T) {
	t.Parallel()
	starts := map[time.Duration]bool{}
	for seed := range uint64(2000) {
		w, d := window.Random(seed)
		again, same := window.Random(seed)
		night := window.Daily{Start: 6 * time.Hour, Length: 16 * time.Hour} // all that is not night
		if w.Length != 30*time.Minute || d.Length != 30*time.Minute || w.Overlaps(d) || w.Overlaps(night) ||
			d.Start < 22*time.Hour && d.Start > 5*time.Hour+30*time.Minute || again != w || same != d {
			t.Fatalf("seed %d: %s and %s", seed, w, d)
		}
		starts[w.Start] = true
	}
	if len(starts) < 1000 {
		t.Errorf("2,000 instances have %d windows", len(starts))
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ maintenance, backup, words string }{
		{"tue:04:00-tue:04:30", "02:00-05:00", "The maintenance window tue:04:00-tue:04:30 overlaps the daily backup window"},
		{"sun:23:00-mon:01:30", "02:00-05:00", ""},
		{"sun:23:00-mon:02:00", "02:00-05:00", ""},
		{"mon:21:00-tue:07:00", "", ""}, // the night is full
		{"mon:21:00-tue:20:30", "", ""},
		{"mon:21:00-tue:20:31", "", "leaves no 30 minutes of its day to the daily backup"},
		{"", "06:00-05:30", ""},
		{"", "06:00-05:31", "leaves no 30 minutes of a day to maintenance"},
	} {
		for seed := range uint64(20) {
			w, _ := window.ParseWeekly(tc.maintenance)
			d, _ := window.ParseDaily(tc.backup)
			w, d, err := window.Complete(seed, w, d)
			switch {
			case tc.words == "" && (err != nil || w.Length == 0 || d.Length == 0 || w.Overlaps(d)):
				t.Errorf("%q and %q become %s and %s, %v", tc.maintenance, tc.backup, w, d, err)
			case tc.words != "" && !strings.Contains(backstay.SentenceOf(err), tc.words):
				t.Errorf("%q and %q: %v, want %q", tc.maintenance, tc.backup, err, tc.words)
			}
		}
	}
}

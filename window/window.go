package window

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

const (
	day  = 24 * time.Hour
	week = 7 * day

	shortest = 30 * time.Minute // that a window may be
)

// Weekly is a maintenance window. It may go over midnight and over the end of the week. The zero Weekly is none.
type Weekly struct {
	Start  time.Duration // after Monday 00:00 UTC, less than a week
	Length time.Duration // at least 30 minutes, less than 24 hours
}

// Daily is a backup window. It may go over midnight. The zero Daily is none.
type Daily struct {
	Start  time.Duration // after 00:00 UTC, less than a day
	Length time.Duration // at least 30 minutes, less than 24 hours
}

// days are named as windows name them, in the order of their number.
var days = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// ParseWeekly reads a window such as "Tue:04:00-Tue:04:30", with the days in any case. The error is Invalid, and its
// sentence names the rule that the text breaks.
func ParseWeekly(text string) (Weekly, error) {
	from, to, _ := strings.Cut(text, "-")
	start, startOK := parseMoment(from)
	end, endOK := parseMoment(to)
	if !startOK || !endOK {
		return Weekly{}, backstay.Errorf(backstay.Invalid,
			"A maintenance window is written DAY:HH:MM-DAY:HH:MM, in UTC and with the days as mon, tue, wed, thu, fri, "+
				"sat or sun, such as tue:04:00-tue:04:30; %q is not.", text)
	}
	length := wrap(end-start, week)
	switch {
	case length < shortest:
		return Weekly{}, tooShort("maintenance", text, length)
	case length >= day:
		return Weekly{}, backstay.Errorf(backstay.Invalid,
			"A maintenance window is shorter than 24 hours; %q takes %s.", text, inWords(length))
	}
	return Weekly{start, length}, nil
}

// ParseDaily reads a window such as "02:00-05:00". The error is Invalid, and its sentence names the rule that the text
// breaks.
func ParseDaily(text string) (Daily, error) {
	from, to, _ := strings.Cut(text, "-")
	start, startOK := parseClock(from)
	end, endOK := parseClock(to)
	if !startOK || !endOK {
		return Daily{}, backstay.Errorf(backstay.Invalid,
			"A backup window is written HH:MM-HH:MM, in UTC, such as 02:00-02:30; %q is not.", text)
	}
	length := wrap(end-start, day)
	if length < shortest {
		return Daily{}, tooShort("backup", text, length)
	}
	return Daily{start, length}, nil
}

// Check refuses windows that overlap, as Invalid.
func Check(w Weekly, d Daily) error {
	if !w.Overlaps(d) {
		return nil
	}
	return backstay.Errorf(backstay.Invalid,
		"The maintenance window %s overlaps the daily backup window %s: choose preferred_maintenance_window or "+
			"preferred_backup_window so that one ends before the other begins.", w, d)
}

func tooShort(kind, text string, length time.Duration) error {
	return backstay.Errorf(backstay.Invalid,
		"A %s window takes at least 30 minutes; %q takes %s.", kind, text, inWords(length))
}

func inWords(d time.Duration) string {
	minutes := int(d.Minutes())
	switch {
	case minutes == 1:
		return "1 minute"
	case minutes < 60:
		return fmt.Sprintf("%d minutes", minutes)
	case minutes%60 == 0:
		return fmt.Sprintf("%d hours", minutes/60)
	}
	return fmt.Sprintf("%d hours and %d minutes", minutes/60, minutes%60)
}

// parseMoment reads a moment of the week, such as "Tue:04:00".
func parseMoment(text string) (time.Duration, bool) {
	name, clock, _ := strings.Cut(text, ":")
	number := slices.Index(days, strings.ToLower(name))
	after, ok := parseClock(clock)
	return time.Duration(number)*day + after, ok && number >= 0
}

// parseClock reads a moment of the day, from "00:00" to "23:59".
func parseClock(text string) (time.Duration, bool) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") { // Parse takes "4:00" too
		return 0, false
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, true
}

// String writes the window as ParseWeekly reads it, in lower case.
func (w Weekly) String() string { return moment(w.Start) + "-" + moment(w.Start+w.Length) }

// UnmarshalText reads what ParseWeekly reads.
func (w *Weekly) UnmarshalText(text []byte) (err error) {
	*w, err = ParseWeekly(string(text))
	return err
}

// UnmarshalText reads what ParseDaily reads.
func (d *Daily) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDaily(string(text))
	return err
}

// String writes the window as ParseDaily reads it.
func (d Daily) String() string { return clock(d.Start) + "-" + clock(d.Start+d.Length) }

func moment(after time.Duration) string { return days[wrap(after, week)/day] + ":" + clock(after) }

func clock(after time.Duration) string {
	minutes := int(wrap(after, day).Minutes())
	return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60)
}

// Next returns when the window opens that is open at now, or the next one if none is, and when it closes. It is open
// at the moment at which it opens, and is not at the one at which it closes.
func (w Weekly) Next(now time.Time) (opens, closes time.Time) {
	return next(now, w.Start-sinceMonday(now), w.Length, week)
}

// Next returns when the window opens that is open at now, or the next one if none is, and when it closes.
func (d Daily) Next(now time.Time) (opens, closes time.Time) {
	return next(now, d.Start-sinceMidnight(now), d.Length, day)
}

// next returns the first of the windows, of which one opens that far from now and the others whole periods from it,
// that has not closed at now.
func next(now time.Time, distance, length, period time.Duration) (opens, closes time.Time) {
	ahead := wrap(distance, period)
	if ahead+length > period { // the one before it is still open
		ahead -= period
	}
	opens = now.UTC().Add(ahead)
	return opens, opens.Add(length)
}

func sinceMidnight(now time.Time) time.Duration {
	utc := now.UTC()
	return utc.Sub(time.Date(utc.Year(), utc.Month(), utc.Day(), 0, 0, 0, 0, time.UTC))
}

func sinceMonday(now time.Time) time.Duration {
	daysAgo := (now.UTC().Weekday() + 6) % 7 // Sunday is 0
	return time.Duration(daysAgo)*day + sinceMidnight(now)
}

// Overlaps reports whether there is a moment of the week that is in both windows. A window that opens when the other
// one closes does not overlap it, and a zero window overlaps none.
func (w Weekly) Overlaps(d Daily) bool {
	if w.Length == 0 || d.Length == 0 {
		return false
	}
	return wrap(d.Start-w.Start, day) < w.Length || wrap(w.Start-d.Start, day) < d.Length
}

// wrap brings a distance into the period: from 0 to less than the period.
func wrap(distance, period time.Duration) time.Duration { return (distance%period + period) % period }

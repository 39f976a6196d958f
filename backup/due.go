package backup

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/window"
)

// Due tells whether a backup is to be begun now, and else when the next one is. Each day has one moment for it in
// the window, which chance decides: the same chance has the same moment each day. A missed one is made up at any
// time of the day, and the first backup of all is due at once. last is what Last returns.
func Due(last time.Time, w window.Daily, chance uint64, now time.Time) (due bool, next time.Time) {
	var moment window.Daily
	moment.Start = w.Start + time.Duration(rand.New(rand.NewPCG(chance, 0)).Int64N(int64(w.Length)))
	next, _ = moment.Next(now)
	if next.Equal(now) { // it is that moment
		next = next.Add(24 * time.Hour)
	}
	previous := next.Add(-24 * time.Hour)
	return last.IsZero() || last.Before(previous), next
}

// Lacks tells whether damage was found that only another backup makes up for, which is due at once then: the newest one
// is damaged, or the archive has lost something behind the newest one that is whole, or was never given it.
func Lacks(list []backstay.Backup, lost []backstay.Gap, now time.Time) bool {
	var newest, whole time.Time
	for _, b := range list {
		if b.Began.After(now) { // of a clock that was wrong
			continue
		}
		if b.Ended.After(newest) {
			newest = b.Ended
		}
		if b.Damaged == "" && b.Ended.After(whole) {
			whole = b.Ended
		}
	}
	return whole.Before(newest) || slices.ContainsFunc(lost, func(g backstay.Gap) bool { return g.Until.After(whole) })
}

// Last returns when the last backup was begun, the zero time if there is none. A backup that lies in the future,
// because the clock was wrong once, keeps nobody from taking others, so it does not count.
func Last(list []backstay.Backup, now time.Time) (last time.Time) {
	for _, b := range list {
		if b.Began.After(last) && !b.Began.After(now) {
			last = b.Began
		}
	}
	return last
}

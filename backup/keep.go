package backup

import (
	"slices"
	"time"

	"github.com/backstay/backstay/backend"
)

// Keep returns the IDs of the backups that are kept so that, with the archive after them, every second of so many
// days before now can be restored that can be today: those that ended within the days, and the last one before.
// All others can be removed.
//
// There are always at least as many as days, if there are that many, so that a clock which is wrong for once takes
// only what would have gone soon. This does not hold behind a last backup (Final): nothing comes after it, and it
// stays.
func Keep(list []backend.Backup, days int, now time.Time) (ids []string) {
	newest := slices.SortedFunc(slices.Values(list), func(a, b backend.Backup) int { return b.Ended.Compare(a.Ended) })
	least := days
	if len(newest) > 0 && newest[0].Final {
		least = 1
	}
	oldest := now.AddDate(0, 0, -days)
	reached := false // whether a backup that is kept reaches the oldest moment
	for i, b := range newest {
		if i < max(least, 1) || !reached || b.Final {
			ids = append(ids, b.ID)
		}
		reached = reached || !b.Ended.After(oldest)
	}
	slices.Reverse(ids)
	return ids
}

// Range returns the moments between which any second can be restored with these backups and an archive that
// reaches until the given one, in whole seconds. Both are zero where there is no archive, which the zero time
// says, or no backup. That a backup has ended later says nothing: the archive may lack what was written meanwhile.
func Range(list []backend.Backup, until time.Time) (earliest, latest time.Time) {
	if until.IsZero() || len(list) == 0 {
		return time.Time{}, time.Time{}
	}
	earliest = list[0].Ended
	for _, b := range list {
		if b.Ended.Before(earliest) {
			earliest = b.Ended
		}
	}
	earliest = wholeSecond(earliest)
	latest = until.UTC().Truncate(time.Second)
	if latest.Before(earliest) { // within one second
		latest = earliest
	}
	return earliest, latest
}

// wholeSecond is the first whole second that is not before t.
func wholeSecond(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

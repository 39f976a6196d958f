package backup

import (
	"slices"
	"time"

	"github.com/backstay/backstay"
)

// Keep returns the IDs of the backups that are kept so that, with the archive after them, every second of so many
// days before now can be restored that can be today: those that ended within the days, and the last one before.
// All others can be removed. A damaged one reaches nothing; it is kept as long as it would be if it were whole, and may
// be found to be so.
//
// There are always at least as many as days, if there are that many, so that a clock which is wrong for once takes
// only what would have gone soon. This does not hold behind a last backup (Final): nothing comes after it, and it
// stays.
func Keep(list []backstay.Backup, days int, now time.Time) (ids []string) {
	newest := slices.SortedFunc(slices.Values(list), func(a, b backstay.Backup) int { return b.Ended.Compare(a.Ended) })
	least := days
	if len(newest) > 0 && newest[0].Final {
		least = 1
	}
	oldest := now.AddDate(0, 0, -days)
	whole, reached := 0, false // whether a backup that is kept reaches the oldest moment
	for _, b := range newest {
		if whole < max(least, 1) || !reached || b.Final {
			ids = append(ids, b.ID)
		}
		if b.Damaged == "" {
			whole++
			reached = reached || !b.Ended.After(oldest)
		}
	}
	slices.Reverse(ids)
	return ids
}

package backup

import (
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// Whole returns the backups that are not damaged.
func Whole(list []backstay.Backup) []backstay.Backup {
	return slices.DeleteFunc(slices.Clone(list), func(b backstay.Backup) bool { return b.Damaged != "" })
}

// Range returns the first and the last moment that can be restored with these backups and an archive that has these
// gaps and reaches until the given moment, in whole seconds. Between them every second can be, except in [Gaps]. Both
// are zero where there is none: no archive, which the zero time says, no whole backup, or gaps behind each at once.
// That a backup has ended later than the archive says nothing: the archive may lack what was written meanwhile.
func Range(list []backstay.Backup, gaps []backstay.Gap, until time.Time) (earliest, latest time.Time) {
	if list = Whole(list); until.IsZero() || len(list) == 0 {
		return time.Time{}, time.Time{}
	}
	oldest, _ := bounds(list)
	last := until.UTC().Truncate(time.Second)
	if first := engine.WholeSecond(oldest); last.Before(first) { // within one second
		last = first
	}
	all := stretches(list, gaps, last)
	if len(all) == 0 {
		return time.Time{}, time.Time{}
	}
	return all[0].first, all[len(all)-1].last
}

// Gaps returns what between the earliest and the latest moment cannot be restored, the oldest first: the seconds
// behind From and before Until, which both can be. A gap of the archive goes on until the next backup.
func Gaps(kept backend.Backups) (told []backstay.Gap) {
	all := stretches(kept.List, kept.Gaps, kept.Latest)
	for i := 1; i < len(all); i++ {
		told = append(told, backstay.Gap{From: all[i-1].last, Until: all[i].first})
	}
	return told
}

// stretch is a time of which each whole second can be restored, both ends included.
type stretch struct{ first, last time.Time }

// stretches returns what can be restored until the last second, the oldest first. Between two of them there is at least
// one second that cannot be. It agrees with Reach: a second is reached from the last backup before it, unless a gap
// lies between them.
func stretches(list []backstay.Backup, gaps []backstay.Gap, last time.Time) (all []stretch) {
	list = Whole(list)
	slices.SortFunc(list, func(a, b backstay.Backup) int { return a.Ended.Compare(b.Ended) })
	for i, b := range list {
		s := stretch{engine.WholeSecond(b.Ended), last}
		if i+1 < len(list) {
			s.last = earlier(s.last, engine.WholeSecond(list[i+1].Ended).Add(-time.Second))
		}
		for _, g := range gaps {
			if g.Until.After(b.Ended) {
				s.last = earlier(s.last, g.From.UTC().Truncate(time.Second))
			}
		}
		switch before := len(all) - 1; {
		case s.last.Before(s.first):
		case before >= 0 && all[before].last.Add(time.Second).Equal(s.first):
			all[before].last = s.last
		default:
			all = append(all, s)
		}
	}
	return all
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

package backup_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
)

// TestWhatIsToldIsReached makes up backups, gaps and ends of the archive that fall into a few minutes, and asks for each
// second of these: it can be restored exactly if it lies between what is told as the earliest and the latest, and in no
// gap that is told.
func TestWhatIsToldIsReached(t *testing.T) {
	t.Parallel()
	for range 500 {
		seed := rand.Uint64()
		kept, archived := madeUp(rand.New(rand.NewPCG(seed, 0)))
		kept.Earliest, kept.Latest = backup.Range(kept.List, kept.Gaps, archived)
		whole := kept // as if nobody had looked at the gaps
		whole.Earliest, whole.Latest = backup.Range(kept.List, nil, archived)
		for moment := start.Add(-time.Second); moment.Before(start.Add(3 * time.Minute)); moment = moment.Add(time.Second) {
			want := isTold(kept, moment)
			for _, of := range []backend.Backups{kept, whole} {
				if _, err := backup.Reach(of, backend.Origin{At: moment}); (err == nil) != want {
					t.Fatalf("seed %d: at %s it is told as restorable: %v; and %v\nkept %+v\ntold gaps %+v",
						seed, moment, want, err, of, backup.Gaps(kept))
				}
			}
		}
	}
}

// madeUp are backups and gaps whose ends are no whole seconds, most often, and how far the archive reaches.
func madeUp(chance *rand.Rand) (kept backend.Backups, archived time.Time) {
	after := func(from time.Time, most time.Duration) time.Time {
		if chance.IntN(3) == 0 {
			return from.Add(time.Duration(chance.Int64N(int64(most/time.Second))) * time.Second)
		}
		return from.Add(time.Duration(chance.Int64N(int64(most))))
	}
	kept.Instance = "i"
	for i := range 1 + chance.IntN(5) {
		b := backstay.Backup{ID: fmt.Sprint(i), Ended: after(start, 2*time.Minute)}
		if chance.IntN(4) == 0 {
			b.Damaged = "A part of it is gone."
		}
		kept.List = append(kept.List, b)
	}
	for range chance.IntN(4) {
		from := after(start, 2*time.Minute)
		kept.Gaps = append(kept.Gaps, backstay.Gap{From: from, Until: after(from, 30*time.Second)})
		if chance.IntN(4) == 0 { // a backup has closed it in the same moment
			kept.List[chance.IntN(len(kept.List))].Ended = kept.Gaps[len(kept.Gaps)-1].Until
		}
	}
	return kept, after(start, 3*time.Minute)
}

// isTold tells whether users read that a moment can be restored.
func isTold(kept backend.Backups, moment time.Time) bool {
	told := !moment.Before(kept.Earliest) && !moment.After(kept.Latest)
	for _, g := range backup.Gaps(kept) {
		told = told && (!moment.After(g.From) || !moment.Before(g.Until))
	}
	return told
}

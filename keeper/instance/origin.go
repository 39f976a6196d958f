package instance

import (
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/backend"
)

// restoresOf counts the restores that a Spec asks for: an instance that begins from a restore point has one, and each
// return to an earlier moment is one more. Data that has had as many is what the Spec wants.
func restoresOf(s backend.Spec) int64 {
	if s.Origin == nil {
		return 0
	}
	return s.Origin.Return + 1
}

// beginsFromItself tells whether a Spec brings an instance back from its own newest backup and its archive.
func beginsFromItself(s backend.Spec) bool {
	o := s.Origin
	return o != nil && o.Instance == s.Instance && o.Backup == "" && o.At.IsZero() && !o.Clone
}

// restoredSuffix is behind the name of data that is being restored, until it is whole.
const restoredSuffix = ".restoring"

// restoredName names the data that is restored for a generation.
func restoredName(generation int64) string { return fmt.Sprintf("%s-%d", firstData, generation) }

// hasData tells whether data is in use that has served, or that was restored: it is never made anew.
func (r Record) hasData() bool { return r.Reached > 0 || r.Restores > 0 }

// isFresh tells whether the data in use was restored and has not served since: the server may not have made some of
// its files yet.
func (r Record) isFresh() bool {
	kept := r.Kept != nil && r.Restores > r.Kept.Restores
	return r.Restores > 0 && (r.Reached == 0 || r.isUntried() && kept)
}

// isUntried tells whether the data in use was made for a generation that has not served yet, while there is data that
// served.
func (r Record) isUntried() bool {
	return r.Before != nil && r.BeforeData != "" && r.BeforeData != dataName(r.Data)
}

// wantsDataBefore tells whether a Spec is to be served from the data that served last, which is kept, and not from
// that in use, which was made for another wish: data that the Spec itself asked for, it is served from.
func (r Record) wantsDataBefore(s backend.Spec) bool {
	if !r.isUntried() || r.Kept == nil || r.Kept.Data != r.BeforeData {
		return false
	}
	if s.Generation == r.Before.Generation {
		return true
	}
	return s.Generation != r.TakenFor && r.Restores > r.Kept.Restores && restoresOf(s) < r.Restores
}

// replaceUntried takes other data into use in the place of data that has never served.
func (r *Record) replaceUntried(data string) {
	untried, at := dataName(r.Data), r.Place
	r.Data = data
	r.leaveSecond()
	if r.Kept != nil && r.Kept.Data == data {
		r.moveTo(r.Kept.Place)
		drops := slices.Concat(r.Drops, r.Kept.Drops)
		slices.Sort(drops)
		r.Drops, r.Restores, r.Kept = slices.Compact(drops), r.Kept.Restores, nil
	}
	if at == r.Place {
		r.Gone = append(r.Gone, untried)
	}
}

// takeFor is take for a generation. One that leaves data which served, for data that was kept, does not ask for
// restores besides.
func (r *Record) takeFor(generation int64, data, version string, now time.Time) {
	untried := r.isUntried()
	r.take(data, version, now)
	r.TakenFor = generation
	if untried {
		return
	}
	if s := r.spec(generation); s.RollBack && generation == r.Spec.Generation {
		r.Restores = max(r.Restores, restoresOf(s))
	}
}

// exchange takes the data of that name, which was restored, into use. The data before, of that version, is kept.
func (r *Record) exchange(data, version string, now time.Time) {
	if r.hasData() {
		r.take(data, version, now)
	}
	r.Data, r.TakenFor = data, r.Spec.Generation
	r.Aside, r.Restores, r.Stale = "", restoresOf(r.Spec), false
}

// leaveRestore has the data be removed that was restored, or was about to be, for a generation that is not wanted any
// more.
func (r *Record) leaveRestore() {
	if restoresOf(r.Spec) <= r.Restores {
		return
	}
	name := restoredName(r.Spec.Generation)
	r.Gone = append(r.Gone, name, name+restoredSuffix)
	r.Aside = ""
}

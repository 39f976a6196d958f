package instance

import (
	"math/rand/v2"
	"time"

	"github.com/backstay/backstay/backend"
)

// simulatedRestores is what a simulation knows of restores.
type simulatedRestores struct {
	asked      int64            // returns, so far
	lost       map[int64]bool   // generations whose backup turns out to be damaged
	of         map[string]int64 // the restores that each data directory has come from
	served     int64            // those of the data that served last
	generation int64            // that is being restored for
	ends       time.Time
}

// wake is when a rest ends: no later than a restore.
func (s *simulatedRestores) wake(v view, until time.Time) time.Time {
	if v.restoring && s.ends.Before(until) {
		return s.ends
	}
	return until
}

// firstOrigin is that of a new instance, of which one in four has any.
func (w *world) firstOrigin(r *rand.Rand) *backend.Origin {
	w.restores = simulatedRestores{lost: map[int64]bool{1: r.IntN(4) == 0}, of: map[string]int64{}}
	if r.IntN(4) > 0 {
		return nil
	}
	return &backend.Origin{}
}

// nextOrigin is that of the next Spec: most often that of the one before, or none any more. Some ask for a return.
func (w *world) nextOrigin(r *rand.Rand) *backend.Origin {
	switch r.IntN(6) {
	case 0:
		w.restores.asked++
		w.restores.lost[w.v.generation+1] = r.IntN(4) == 0
		return &backend.Origin{Return: w.restores.asked}
	case 1:
		return nil
	}
	return w.record.Spec.Origin
}

// isLost tells whether the generation needs data that cannot be restored.
func (w *world) isLost(generation int64) bool {
	return w.record.way(generation, w.laid) == byRestore && w.restores.lost[generation]
}

// beginRestore takes from a moment to half a minute.
func (w *world) beginRestore(a action) {
	switch {
	case w.v.restoring:
		w.fatalf("data is restored twice at once")
	case a.generation != w.v.generation:
		w.fatalf("data is restored for generation %d, which is not wanted", a.generation)
	case w.record.Reached == 0 && w.running && w.record.way(w.v.started, w.laid) == byRestore:
		w.fatalf("something empty serves in the place of what is to be restored")
	}
	w.v.restoring, w.restores.generation = true, a.generation
	w.restores.ends = w.now.Add(time.Duration(a.generation*7%31) * time.Second)
}

// endRestore sees whether a restore has ended. One for a wish that is past says nothing.
func (w *world) endRestore() {
	if !w.v.restoring || w.now.Before(w.restores.ends) {
		return
	}
	w.v.restoring = false
	generation := w.restores.generation
	switch {
	case generation != w.v.generation || w.v.removing:
	case w.restores.lost[generation]:
		w.note("the restore for %d fails", generation)
		w.fail(action{verb: toRestore, generation: generation})
	default:
		w.note("the data for %d is restored", generation)
		w.record.Aside = restoredName(generation)
	}
}

func (w *world) exchange(a action) {
	name := restoredName(a.generation)
	switch {
	case w.running:
		w.fatalf("data is exchanged that a process uses")
	case w.record.Aside != name:
		w.fatalf("data %s is taken into use, and is not whole", name)
	case w.away:
		w.fail(a)
	default:
		w.record.exchange(name, w.laid, w.now)
		w.restores.of[name] = w.record.Restores
		w.laid, w.data = w.record.spec(a.generation).Version, true
	}
}

// checkRestores looks whether what is about to serve is the data that the Spec asks for, and no older one. What was kept
// may be, where somebody asks for it.
func (w *world) checkRestores() {
	s := w.record.spec(w.v.started)
	got := w.restores.of[dataName(w.record.Data)]
	anew := w.v.reached == 0 && got > restoresOf(s) // an origin that is not wanted any more does no harm to a new one
	if want := max(restoresOf(s), w.restores.served); got != want && !s.RollBack && !anew {
		w.fatalf("generation %d serves data of %d restores, not of %d", s.Generation, got, want)
	}
	if got != w.record.Restores {
		w.fatalf("the record says that its data came from %d restores, not from %d", w.record.Restores, got)
	}
	w.restores.served = got
}

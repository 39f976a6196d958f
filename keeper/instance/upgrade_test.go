package instance

import (
	"fmt"
	"time"
)

// versions are those that the instances of a simulation go through.
var versions = []string{"15", "16", "17"}

// seeData puts into the view what the keeper sees of the data.
func (w *world) seeData() {
	w.v.way, w.v.wayBack = w.record.way(w.v.generation, w.laid), asItIs
	if w.record.Before != nil {
		w.v.wayBack = w.record.way(w.record.Before.Generation, w.laid)
	}
	w.v.sized = w.volume == w.record.volumeSize()
	w.v.gone, w.v.kept = len(w.record.Gone) > 0, time.Time{}
	if w.record.Kept != nil {
		w.v.kept = w.record.Kept.Since
	}
}

// isRefused tells whether the engine refuses the generation: for what it is, or because there is no way to its data.
func (w *world) isRefused(generation int64) bool {
	s := w.record.spec(generation)
	way := w.record.way(generation, w.laid)
	none := way == byUpgrade && (s.RollBack || s.Version < w.laid) || way == byReturn && w.record.Kept.Version != s.Version
	return none || w.natures[generation] == refused
}

// upgrade makes data of another version, or does not, as half of what is deceptive.
func (w *world) upgrade(a action) {
	to := w.record.spec(a.generation).Version
	switch {
	case w.running:
		w.fatalf("data is upgraded that a process uses")
	case w.away || w.natures[a.generation] == deceptive && a.generation%2 == 0:
		w.fail(a)
	case w.isRefused(a.generation) && w.v.before != 0:
		w.fatalf("what cannot be upgraded from %s to %s was ended for it", w.laid, to)
	case w.isRefused(a.generation):
		w.fail(a)
	default:
		data := w.record.dataFor(a.generation, w.laid)
		w.restores.of[data] = w.restores.of[dataName(w.record.Data)]
		w.record.takeFor(a.generation, data, w.laid, w.now)
		w.laid = to
	}
}

func (w *world) goBack(a action) {
	to := w.record.spec(a.generation)
	switch kept := w.record.Kept; {
	case w.running:
		w.fatalf("data is replaced that a process uses")
	case kept == nil || kept.Version != to.Version:
		w.fatalf("there is nothing to return to for version %s", to.Version)
	case a.generation == w.v.generation && !to.RollBack && w.v.before != a.generation &&
		!w.record.wantsDataBefore(to):
		w.fatalf("nobody has asked for the return to %s", to.Version)
	case w.away:
		w.fail(a)
	default:
		w.record.takeFor(a.generation, kept.Data, w.laid, w.now)
		if to.RollBack && a.generation == w.v.generation {
			w.restores.of[kept.Data] = w.record.Restores
		}
		w.restores.served = w.restores.of[kept.Data] // as was asked, though it may be served for another wish only
		w.laid = to.Version
	}
}

func (w *world) tidy() {
	kept := w.record.Kept
	if kept != nil && w.now.Sub(kept.Since) >= keepFor {
		if w.v.before != 0 {
			w.fatalf("data is let go that %d may return to", w.v.before)
		}
		w.record.letGo()
	}
	for _, name := range w.record.Gone {
		if w.v.restoring && name == restoredName(w.restores.generation)+restoredSuffix || name == w.record.Aside {
			w.fatalf("data %s is removed, and being restored", name)
		}
		if w.record.Kept != nil && w.record.Kept.Data == name || dataName(w.record.Data) == name {
			w.fatalf("data %s is removed, and in use or kept", name)
		}
	}
	w.record.Gone = nil
}

// checkTidied lets a week pass, after which no data is kept but that in use.
func (w *world) checkTidied() {
	w.now = w.now.Add(keepFor)
	w.settle(time.Minute)
	if w.v.serves && w.v.before == 0 && (w.record.Kept != nil || len(w.record.Gone) > 0) {
		w.fatalf("data is kept: %s", fmt.Sprint(w.record.Kept, w.record.Gone))
	}
}

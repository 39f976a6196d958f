package instance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// nature is what becomes of a Spec.
type nature int

const (
	sound     nature = iota // it serves
	refused                 // the engine's check says that it cannot be
	deceptive               // the check passes it, and the engine does not start with it
)

// world is one instance in a simulation: what is on its disk, its process, and what its keeper has seen.
type world struct {
	t       *testing.T
	now     time.Time
	history []string

	v       view // also what the keeper of the moment has seen
	natures map[int64]nature
	data    bool // there is a data directory
	away    bool // and it was taken away for a while
	owed    int
	running bool  // the process
	runs    int64 // the generation that it was started with
	hung    bool  // it does not answer
	gone    bool

	record Record         // keeps what is asked for, and what was done, of restarts and of data
	laid   string         // the version of the data in use
	volume backstay.Bytes // the size that it has
	had    int64          // restarts that the process was started with
	ended  map[int64]int  // how often what served was ended for a generation

	restores simulatedRestores

	failures int
	failed   time.Time
	about    int64
}

func newWorld(t *testing.T, first nature) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), natures: map[int64]nature{1: first}, ended: map[int64]int{}}
	w.record.Spec.Generation, w.record.Spec.Version = 1, versions[0]
	w.v = view{wish: wish{generation: 1}}
	return w
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Log(w.history[0]) // the seed
	for _, line := range w.history[max(1, len(w.history)-60):] {
		w.t.Log(line)
	}
	w.t.Fatalf("%s\nview %+v", fmt.Sprintf(format, args...), w.v)
}

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// step does the next thing, as carryOut does, and tells whether that was to rest.
func (w *world) step() (rested bool) {
	if w.about != w.v.generation {
		w.about, w.failures, w.v.retry = w.v.generation, 0, time.Time{}
	}
	w.endRestore()
	w.v.owed, w.v.alive = w.owed > 0, w.v.alive && (w.running || w.v.looked)
	w.seeData()
	a := decide(w.v, w.now)
	w.note("%s %d", a.verb, a.generation)
	switch a.verb {
	case toRest:
		if !w.v.alive && !a.until.After(w.now) {
			w.fatalf("rest that does not rest")
		}
		if w.v.alive && !w.running {
			w.lose()
			w.fail(a)
			return false
		}
		w.now = w.restores.wake(w.v, a.until)
		return true
	case toLook:
		w.v.looked, w.v.alive, w.v.lived = true, w.running, w.running && w.v.reached > 0
		w.volume = w.record.volumeSize()
	case toSize:
		w.volume = w.record.volumeSize()
	case toStart:
		w.start(a)
	case toAwait:
		w.await(a)
	case toDrop:
		w.owed = 0
	case toReach:
		w.reach()
	case toAsk:
		w.ask(a)
	case toCheck:
		if w.isRefused(a.generation) {
			w.fail(a)
		} else {
			w.v.checked = a.generation
		}
	case toChange:
		if w.v.serves && a.generation != w.v.before && !w.v.passed() {
			w.fatalf("what serves is ended for generation %d, which was not checked", a.generation)
		}
		w.change(a)
	case toRestart:
		w.restart(a)
	case toKill:
		if !w.hung { // as kill finds when it asks once more
			w.v.silent, w.v.mute, w.v.stopped, w.v.serves = time.Time{}, time.Time{}, false, false
			return false
		}
		if w.now.Sub(w.v.mute) < stoppedPatience {
			w.fatalf("a process is killed that has hung for a moment")
		}
		w.running = false
		w.lose()
	case toUpgrade:
		w.upgrade(a)
	case toReturn:
		w.goBack(a)
	case toRestore:
		w.beginRestore(a)
	case toExchange:
		w.exchange(a)
	case toTidy:
		w.tidy()
	case toRemove:
		w.running, w.data, w.gone = false, false, true
	}
	return false
}

func (w *world) lose() {
	w.hung = w.hung && w.running
	w.v.lived, w.v.awaited, w.v.restart = false, false, 0
	w.v.alive, w.v.looked, w.v.answers, w.v.serves, w.v.stopped = false, false, false, false, false
	w.v.silent, w.v.mute = time.Time{}, time.Time{}
}

func (w *world) fail(a action) {
	if w.failures++; w.failures == 1 {
		w.failed = w.now
	}
	w.v.retry = w.now.Add(backoff(w.failures))
	missing := w.record.hasData() && (w.away || !w.data)
	patience := hopeless
	if missing || a.verb == toRestore {
		patience = hopelessMissing
	}
	lost := a.verb == toRestore && w.restores.lost[a.generation]
	final := w.isRefused(w.v.generation) || lost || w.now.Sub(w.failed) >= patience
	about := a.generation
	if about == 0 {
		about = w.v.started
	}
	if w.v.reached < w.v.generation && about == w.v.generation && final && w.record.canReturn(w.laid, nil) {
		w.v.obstacle = backend.Obstacle{Generation: w.v.generation, Final: true}
		w.failures, w.v.retry = 0, time.Time{}
	}
}

func (w *world) start(a action) {
	if w.running {
		w.fatalf("a second process is started")
	}
	present := w.data && !w.away
	if w.record.hasData() && !present || w.natures[a.generation] == refused {
		w.v.looked = false
		w.fail(a)
		return
	}
	if storage := w.record.spec(a.generation).Size.Storage; w.volume < VolumeSize(storage) {
		w.fatalf("generation %d is started on a volume of %v, and is to have %v", a.generation, w.volume, storage)
	}
	if way := w.record.way(a.generation, w.laid); way != asItIs {
		w.fatalf("generation %d is started with data that is not its own: %d", a.generation, way)
	}
	if version := w.record.spec(a.generation).Version; !w.data {
		w.laid = version
	} else if w.laid != version {
		w.fatalf("version %s is started with data of %s", version, w.laid)
	}
	w.data = true
	w.v.started, w.runs = a.generation, a.generation
	w.record.begin(a.generation)
	w.had = w.record.Restarts
	w.running, w.hung = w.natures[a.generation] == sound, false
	w.v.alive, w.v.lived, w.v.awaited, w.v.answers, w.v.serves = w.running, false, false, false, false
	if !w.running {
		w.lose()
		w.fail(a)
	}
}

// change is a reload, if the process serves and no restart is asked for. Half of the generations take a restart anyway.
func (w *world) change(a action) {
	reloads := a.generation%2 == 0 && w.natures[a.generation] == sound && !w.record.asksForRestart(a.generation) &&
		w.record.way(a.generation, w.laid) == asItIs
	if w.v.lived && !w.v.awaited && !w.v.answers && w.running && !w.hung && reloads {
		w.fatalf("a process that may have clients is ended though it could take generation %d over", a.generation)
	}
	if w.v.answers && w.running && !w.hung && reloads {
		w.record.begin(a.generation)
		w.v.started, w.runs = a.generation, a.generation
		w.v.awaited, w.v.answers, w.v.serves = false, false, false
		return
	}
	w.v.restart, w.v.found = a.generation, w.now
}

// restart ends the process for a generation that takes it.
func (w *world) restart(a action) {
	if w.v.serves && w.running && !w.hung && w.v.way == asItIs { // an upgrade may be begun again
		if w.ended[a.generation]++; w.ended[a.generation] > 1 && a.generation == w.v.generation {
			w.fatalf("what serves is ended for generation %d once more", a.generation)
		}
	}
	w.running = false
	w.lose()
}

func (w *world) await(a action) {
	switch {
	case !w.running:
		w.lose()
		w.fail(a)
	case w.hung:
		w.v.stopped = true
		w.mute()
		if w.v.silent.IsZero() {
			w.v.silent = w.now
		}
		w.now = w.now.Add(time.Second)
		w.v.awaited = true
		w.fail(a)
	default:
		w.v.answers, w.v.silent, w.v.stopped, w.v.mute = true, time.Time{}, false, time.Time{}
	}
}

func (w *world) mute() {
	if w.v.mute.IsZero() {
		w.v.mute = w.now
	}
}

func (w *world) reach() {
	if w.owed > 0 {
		w.fatalf("it serves, and users are still to be dropped")
	}
	if w.v.started != w.v.target() || w.runs != w.v.started {
		w.fatalf("generation %d is reached by a process of %d", w.v.target(), w.runs)
	}
	w.record.reach()
	if w.had < w.record.spec(w.v.started).Restarts {
		w.fatalf("generation %d is reached without the restart that it asks for", w.v.started)
	}
	w.checkRestores()
	w.v.serves, w.v.lived, w.v.reached = true, true, w.v.started
	if w.v.started == w.v.generation {
		w.v.before, w.v.obstacle = 0, backend.Obstacle{}
	}
}

func (w *world) ask(a action) {
	began := w.now
	switch {
	case w.hung:
		w.now = w.now.Add(2 * time.Second)
		w.mute()
		if w.v.silent.IsZero() {
			w.v.silent = began
		}
	case !w.running:
		w.lose()
		w.fail(a)
	default:
		w.v.serves = w.v.serves && w.v.silent.IsZero()
		w.v.silent, w.v.mute = time.Time{}, time.Time{}
	}
	w.v.asked = w.now
}

// disturb lets something happen.
func (w *world) disturb(r *rand.Rand) {
	switch what := r.IntN(8); what {
	case 0, 1:
		version := w.record.Spec.Version
		if r.IntN(2) == 0 {
			version = versions[r.IntN(len(versions))]
		}
		w.want(nature(r.IntN(3)), r.Int64N(2), version, w.nextOrigin(r))
	case 2:
		w.note("the process dies")
		w.running, w.hung = false, false
	case 3:
		w.note("the keeper dies")
		w.lose()
		w.v.restoring = false
		w.v.checked, w.v.retry, w.v.asked, w.failures = 0, time.Time{}, time.Time{}, 0
	case 4:
		w.note("the process hangs")
		w.hung = w.running
	case 5:
		w.note("it goes on")
		w.hung = false
	case 6:
		w.away = !w.away && !w.running
		w.note("the data is away: %t", w.away)
	case 7:
		if !w.v.serves {
			w.note("a user is to be dropped")
			w.owed++
		}
	}
}

func (w *world) want(n nature, restarts int64, version string, origin *backend.Origin) {
	v := &w.v
	if v.reached == v.generation {
		v.before = v.generation
	}
	v.generation++
	v.obstacle = backend.Obstacle{}
	s := backend.Spec{Generation: v.generation, Size: backstay.Size{Storage: backstay.Bytes(v.generation%3) * backstay.GB},
		Restarts: w.record.Spec.Restarts + restarts, Version: version, Origin: origin}
	s.RollBack = w.record.Kept != nil && w.record.Kept.Version == version
	w.natures[v.generation] = n
	w.record.want(s)
	w.note("generation %d is wanted: %d, with %d restarts, version %s, back: %t, %d restores", v.generation, n, s.Restarts,
		version, s.RollBack, restoresOf(s))
}

// settle lets the keeper work until some time has passed without a disturbance. It must not spin.
func (w *world) settle(d time.Duration) {
	end, busy := w.now.Add(d), 0
	for w.now.Before(end) && !w.gone {
		before := w.now
		if busy++; w.step() || w.now.After(before) {
			busy = 0
		}
		if busy > 20 {
			w.fatalf("it spins")
		}
	}
}

// TestDecideThroughManySchedules lets thousands of instances live through whatever comes, each from a seed of
// its own. When nothing comes any more, each serves what is wanted, or what served before.
func TestDecideThroughManySchedules(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, nature(r.IntN(3)))
		w.record.Spec.Origin = w.firstOrigin(r)
		w.note("seed %d, generation 1: %d, %d restores", seed, w.natures[1], restoresOf(w.record.Spec))
		for range r.IntN(30) {
			w.disturb(r)
			w.settle(time.Duration(r.Int64N(int64(15 * time.Second))))
		}
		w.away, w.hung = false, false
		w.settle(3 * time.Minute)
		w.checkSettled()
		w.checkTidied()
		w.v.removing = true
		if w.settle(3 * time.Minute); !w.gone || w.running {
			w.fatalf("it is not removed")
		}
	}
}

func (w *world) checkSettled() {
	// A sound one that was disturbed for long while it came up is given up too.
	possible := w.natures[w.v.generation] == sound && !w.isLost(w.v.generation) && !w.isRefused(w.v.generation) && !w.v.givenUp()
	switch {
	case possible && (!w.v.serves || !w.running || w.runs != w.v.generation || w.v.reached != w.v.generation):
		w.fatalf("generation %d is possible, and is not served", w.v.generation)
	case !possible && w.v.before != 0 && (!w.v.serves || w.runs != w.v.before || !w.v.givenUp()):
		w.fatalf("generation %d is impossible, and %d, which served before, does not", w.v.generation, w.v.before)
	case !possible && w.v.before == 0 && w.v.serves:
		w.fatalf("generation %d is impossible, and is served", w.v.generation)
	case w.v.serves && w.volume != w.record.volumeSize():
		w.fatalf("the volume has %v and is to have %v", w.volume, w.record.volumeSize())
	case w.v.serves && w.owed > 0:
		w.fatalf("%d users are still to be dropped", w.owed)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var total, last time.Duration
	for failures := 1; failures < 100; failures++ {
		d := backoff(failures)
		if d < last || d > 30*time.Second {
			t.Fatalf("the pause behind failure %d is %s, after %s", failures, d, last)
		}
		if failures == 1 && d != 0 {
			t.Errorf("the first pause is %s, want none", d)
		}
		if total += d; failures == 6 && total > time.Second {
			t.Errorf("six tries take %s", total)
		}
		last = d
	}
	if last != 30*time.Second {
		t.Errorf("the longest pause is %s", last)
	}
}

// An engine is ended when it has not answered for long, also one that clients have kept from serving since it started.
func TestHangs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		v    view
		mute time.Duration
		want bool
	}{
		"answers":                      {view{alive: true, serves: true}, 0, false},
		"does not answer for a moment": {view{alive: true, serves: true}, time.Second, false},
		"does not answer":              {view{alive: true, serves: true}, mutePatience, true},
		"still comes up":               {view{alive: true}, mutePatience, false},
		"is occupied as it comes up":   {view{alive: true, busy: true}, mutePatience, true},
		"is occupied for a moment":     {view{alive: true, busy: true}, time.Second, false},
		"stands still":                 {view{alive: true, stopped: true}, stoppedPatience, true},
		"has ended":                    {view{busy: true}, mutePatience, false},
	} {
		if tc.mute > 0 {
			tc.v.mute = now.Add(-tc.mute)
		}
		if got := tc.v.hangs(now); got != tc.want {
			t.Errorf("one that %s hangs: %t", name, got)
		}
	}
}

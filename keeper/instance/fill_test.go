package instance

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

func TestFill(t *testing.T) {
	t.Parallel()
	const gb, mb = backstay.GB, backstay.MB
	plan := func(free backstay.Bytes) room { return room{storage: 5 * gb, kept: 256 * mb, free: free} }
	watched := room{storage: 5 * gb, free: -gb, watched: true}
	for _, tc := range []struct {
		name   string
		room   room
		before fill
		want   fill
	}{
		{"empty", plan(5*gb + 256*mb), roomy, roomy},
		{"at 89 %", plan(256*mb + gb*55/100), roomy, roomy},
		{"at 91 %", plan(256*mb + gb*45/100), roomy, nearlyFull},
		{"at 89 % after 91 %", plan(256*mb + gb*55/100), nearlyFull, nearlyFull},
		{"at 87 % after 91 %", plan(256*mb + gb*65/100), nearlyFull, roomy},
		{"used up", plan(256 * mb), nearlyFull, full},
		{"used up at once", plan(200 * mb), roomy, full},
		{"a little was deleted", plan(256*mb + 500*mb), full, full},
		{"enough was deleted", plan(256*mb + 520*mb), full, nearlyFull},
		{"half of what is kept is gone", plan(127 * mb), full, spent},
		{"it is there again, nearly", plan(150 * mb), spent, spent},
		{"it is there again", plan(200 * mb), spent, full},
		{"the disk below has something", room{5 * gb, 256 * mb, 100 * mb, 4 * gb, false}, roomy, roomy},
		{"the disk below has nothing", room{5 * gb, 256 * mb, 30 * mb, 4 * gb, false}, roomy, full},
		{"the disk below has less than nothing", room{5 * gb, 256 * mb, 10 * mb, 4 * gb, false}, full, spent},
		{"the disk below has a little again", room{5 * gb, 256 * mb, 35 * mb, 4 * gb, false}, full, full},
		{"the disk below has room again", room{5 * gb, 256 * mb, 63 * mb, 4 * gb, false}, full, roomy},
		{"it took a larger plan", room{10 * gb, 512 * mb, 5*gb + 512*mb, 0, false}, spent, roomy},
		{"nothing keeps it to its plan", watched, roomy, nearlyFull},
	} {
		if got := tc.room.next(tc.before); got != tc.want {
			t.Errorf("%s: got %d after %d, want %d", tc.name, got, tc.before, tc.want)
		}
	}
}

// TestFillIsSteady: whatever room there is, a second look says what the first one said, and less room is never taken for
// more.
func TestFillIsSteady(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20000) {
		chance := rand.New(rand.NewPCG(seed, 16))
		storage := backstay.Bytes(chance.Int64N(int64(20*backstay.GB))) + 100*backstay.MB
		r := room{storage: storage, kept: max(128*backstay.MB, storage/20), watched: chance.IntN(5) == 0}
		most := int64(r.storage + r.kept)
		r.free = backstay.Bytes(chance.Int64N(most))
		if chance.IntN(2) == 0 {
			r.held = backstay.Bytes(chance.Int64N(most-int64(r.free))) + 1
		}
		for before := roomy; before <= spent; before++ {
			now := r.next(before)
			if again := r.next(now); again != now {
				t.Fatalf("seed %d: of %+v it says %d, and then %d", seed, r, now, again)
			}
			less := r
			less.free -= backstay.Bytes(chance.Int64N(int64(r.free) + 1))
			if worse := less.next(before); worse < now && !r.isShort() {
				t.Fatalf("seed %d: after %d, %+v is taken for %d, and %+v for %d", seed, before, r, now, less, worse)
			}
			if now < full && !r.watched && r.left() <= 0 {
				t.Fatalf("seed %d: %+v is taken for %d", seed, r, now)
			}
		}
	}
}

// TestFastWriterIsStopped: one that writes 500 MB in a second is refused before half of what is kept is gone, though the
// refusal takes a tenth of a second, and whenever the looks fall.
func TestFastWriterIsStopped(t *testing.T) {
	t.Parallel()
	const pace, refusing = 500 * backstay.MB, 100 * time.Millisecond
	for seed := range uint64(2000) {
		chance := rand.New(rand.NewPCG(seed, 17))
		storage := backstay.Bytes(chance.Int64N(int64(20*backstay.GB))) + 100*backstay.MB
		r := room{storage: storage, kept: max(128*backstay.MB, storage/20)}
		r.free = backstay.Bytes(chance.Int64N(int64(storage))) + r.kept + 1
		write := func(during time.Duration) { r.free -= backstay.Bytes(float64(pace) * during.Seconds()) }
		level := r.next(roomy)
		write(time.Duration(chance.Int64N(int64(r.pause(level))))) // it begins between two looks
		for level = r.next(level); level < full; level = r.next(level) {
			write(r.pause(level))
		}
		write(refusing)
		if r.free < r.kept/2 {
			t.Fatalf("seed %d: %+v is left when it is refused", seed, r)
		}
	}
}

func TestFullnessIsTold(t *testing.T) {
	t.Parallel()
	const gb, mb = backstay.GB, backstay.MB
	for _, tc := range []struct {
		room              room
		fill              fill
		how               string
		storage, readOnly string
	}{
		{room{5 * gb, 256 * mb, 2 * gb, 0, false}, roomy, "so", "", ""},
		{room{5 * gb, 256 * mb, 512 * mb, 0, false}, nearlyFull, "so", "95% of the plan's 5GB of storage are used. There is " +
			"room in a plan with more storage (`cf update-service NAME -p PLAN`).", ""},
		{room{5 * gb, 256 * mb, 200 * mb, 0, false}, full, "so", "100% of the plan's 5GB of storage are used.",
			"Its storage is full: it is read-only until less than 90% are used. Choose a plan with more storage " +
				"(`cf update-service NAME -p PLAN`), or delete data (so)."},
		{room{5 * gb, 256 * mb, 20 * mb, 3 * gb, false}, full, "", "", "The operator's disk is full: it is read-only until " +
			"there is more room, or data is deleted."},
		{room{storage: 5 * gb, free: -gb, watched: true}, nearlyFull, "so", "120% of the plan's 5GB of storage are used. There " +
			"is room in a plan with more storage (`cf update-service NAME -p PLAN`).", ""},
	} {
		storage, readOnly := tc.room.told(tc.fill, tc.how)
		if tc.storage == "" && tc.fill >= full {
			storage = ""
		}
		if storage != tc.storage || readOnly != tc.readOnly {
			t.Errorf("of %+v it says\n%s\n%s", tc.room, storage, readOnly)
		}
		if strings.Contains(storage+readOnly, "  ") {
			t.Errorf("%q", storage+readOnly)
		}
	}
}

// TestRoomIsLentAtOnce: Run, which rests, is woken once for each part that a volume gets, and not while it has not given
// that yet.
func TestRoomIsLentAtOnce(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	spent := room{storage: backstay.GB, kept: 128 * backstay.MB, free: backstay.MB}
	woken := func() bool {
		select {
		case <-in.woken:
			return true
		default:
			return false
		}
	}
	for part := backstay.Bytes(1); part <= 2; part++ {
		for look := range 3 {
			if !in.lendServing(spent) || woken() != (look == 0) {
				t.Errorf("part %d, look %d: nothing is lent, or Run is woken at another look than the first", part, look)
			}
		}
		if is := in.guarded.refuge(); is != part*recoveryPart {
			t.Errorf("the volume is to be larger by %s, want %d parts", is, part)
		}
		in.guarded.took(in.guarded.refuge())
	}
	if in.lendServing(spent) || woken() {
		t.Error("more is lent than an engine may have that serves")
	}
}

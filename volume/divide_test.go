package volume

import (
	"math/rand/v2"
	"testing"

	"github.com/backstay/backstay"
)

// TestDivide sees for many pools that no more is given than there is, that nobody gets more than it wants, and that
// one that wants more than another, grows no slower and has no more, gets no less.
func TestDivide(t *testing.T) {
	t.Parallel()
	for range 2000 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		wants := map[int]want{}
		for id := range r.IntN(30) {
			wants[id] = want{
				room: anySize(r, 5*backstay.GB), pace: anySize(r, backstay.GB), used: anySize(r, 5*backstay.GB),
				free: anySize(r, 2*Last),
			}
		}
		spare := anySize(r, 20*backstay.GB)
		checkDivided(t, seed, spare, max(spare, anySize(r, backstay.GB)), wants)
	}
}

// anySize is any size below limit, and often none.
func anySize(r *rand.Rand, limit backstay.Bytes) backstay.Bytes {
	return max(0, backstay.Bytes(r.Int64N(int64(limit)*3/2))-limit/2)
}

func checkDivided(t *testing.T, seed uint64, spare, most backstay.Bytes, wants map[int]want) {
	t.Helper()
	var given, wanted, kept backstay.Bytes
	gifts := divide(spare, most, wants)
	for id, w := range wants {
		given, wanted, kept = given+gifts[id], wanted+w.room, kept+w.keeps()
		if gifts[id] < 0 || gifts[id] > w.room {
			t.Errorf("seed %d: %v for one that wants %v", seed, gifts[id], w.room)
		}
		for other, o := range wants {
			if w.room >= o.room && w.pace >= o.pace && w.used < o.used && w.keeps() >= o.keeps() && gifts[id] < gifts[other]-portion {
				t.Errorf("seed %d: %+v got %v, and %+v got %v", seed, w, gifts[id], o, gifts[other])
			}
		}
	}
	if given > max(spare, min(kept, most)) {
		t.Errorf("seed %d: %v given of %v, and of %v to keep %v", seed, given, spare, most, kept)
	}
	for id, w := range wants {
		if kept <= max(spare, most) && gifts[id] < w.keeps() {
			t.Errorf("seed %d: %+v keeps %v", seed, w, gifts[id])
		}
	}
	if lost := min(spare, wanted) - given; lost > portion*backstay.Bytes(len(wants)) {
		t.Errorf("seed %d: of %v, %v was wanted, and only %v given", seed, spare, wanted, given)
	}
}

// TestDivideForOneThatGrows sees that in a narrow pool one that grows gets most of it, and a quiet one something.
func TestDivideForOneThatGrows(t *testing.T) {
	t.Parallel()
	wants := map[string]want{"grows": {room: 5 * backstay.GB, pace: 100 * backstay.MB}, "quiet": {room: 5 * backstay.GB}}
	gifts := divide(4*backstay.GB, 0, wants)
	if gifts["grows"] != 3*backstay.GB || gifts["quiet"] != backstay.GB {
		t.Errorf("given %v", gifts)
	}
}

// TestDivideWhatIsNotEnough sees that those that have used the pool up stop first.
func TestDivideWhatIsNotEnough(t *testing.T) {
	t.Parallel()
	const mb = backstay.MB
	wants := map[string]want{
		"greedy": {room: 5 * backstay.GB, pace: 50 * mb, used: 9 * backstay.GB}, "small": {room: backstay.GB, used: 60 * mb},
		"middling": {room: backstay.GB, pace: 10 * mb, used: 100 * mb}, "full": {used: 10 * mb},
	}
	for spare, want := range map[backstay.Bytes]map[string]backstay.Bytes{
		240 * mb: {"greedy": 80 * mb, "small": 80 * mb, "middling": 80 * mb}, 0: {}, -mb: {},
		200 * mb: {"greedy": 64 * mb, "small": 72 * mb, "middling": 64 * mb},
		100 * mb: {"small": 64 * mb, "middling": 36 * mb},
	} {
		gifts := divide(spare, spare, wants)
		for name := range wants {
			if gifts[name] != want[name] {
				t.Errorf("of %v, %s gets %v, want %v", spare, name, gifts[name], want[name])
			}
		}
	}
}

// TestLastRoomIsKept has some of many volumes write as fast as they get room, small ones too, until the pool has nothing
// left, and beyond that into what is theirs. None of the others loses anything of its last room for that, nor while the
// platform uses up half of the reserve.
func TestLastRoomIsKept(t *testing.T) {
	t.Parallel()
	const reserve = backstay.GB
	for range 200 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 16))
		wants, writes := map[int]want{}, map[int]bool{}
		for id := range r.IntN(20) + 2 {
			wants[id] = want{room: 5 * backstay.GB, used: Last + anySize(r, 5*backstay.GB)}
			writes[id] = id > 0 && r.IntN(2) == 0
		}
		free := reserve + backstay.Bytes(len(wants))*(Last+anySize(r, 2*Last))
		for range 50 {
			for id, gift := range divide(free-reserve, free-reserve/2, wants) {
				w := wants[id]
				if w.free = gift; !writes[id] && gift < Last {
					t.Fatalf("seed %d: one of %v that does not write has %v of its last room", seed, w.used, gift)
				}
				if writes[id] {
					took := backstay.Bytes(r.Int64N(int64(gift) + 1))
					w.free, w.room, w.used, w.pace = gift-took, w.room-took, w.used+took, took
					free -= took
				}
				wants[id] = w
			}
			free -= max(0, min(free-reserve/2-lasts(wants), anySize(r, 32*backstay.MB))) // the platform writes too
		}
	}
}

func lasts(wants map[int]want) (all backstay.Bytes) {
	for _, w := range wants {
		all += w.keeps()
	}
	return all
}

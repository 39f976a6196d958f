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
			}
		}
		checkDivided(t, seed, anySize(r, 20*backstay.GB), wants)
	}
}

// anySize is any size below limit, and often none.
func anySize(r *rand.Rand, limit backstay.Bytes) backstay.Bytes {
	return max(0, backstay.Bytes(r.Int64N(int64(limit)*3/2))-limit/2)
}

func checkDivided(t *testing.T, seed uint64, spare backstay.Bytes, wants map[int]want) {
	t.Helper()
	var given, wanted backstay.Bytes
	gifts := divide(spare, wants)
	for id, w := range wants {
		given, wanted = given+gifts[id], wanted+w.room
		if gifts[id] < 0 || gifts[id] > w.room {
			t.Errorf("seed %d: %v for one that wants %v", seed, gifts[id], w.room)
		}
		for other, o := range wants {
			if w.room >= o.room && w.pace >= o.pace && w.used < o.used && gifts[id] < gifts[other]-portion {
				t.Errorf("seed %d: %+v got %v, and %+v got %v", seed, w, gifts[id], o, gifts[other])
			}
		}
	}
	if given > spare {
		t.Errorf("seed %d: %v given of %v", seed, given, spare)
	}
	if lost := min(spare, wanted) - given; lost > portion*backstay.Bytes(len(wants)) {
		t.Errorf("seed %d: of %v, %v was wanted, and only %v given", seed, spare, wanted, given)
	}
}

// TestDivideForOneThatGrows sees that in a narrow pool one that grows gets most of it, and a quiet one something.
func TestDivideForOneThatGrows(t *testing.T) {
	t.Parallel()
	wants := map[string]want{"grows": {room: 5 * backstay.GB, pace: 100 * backstay.MB}, "quiet": {room: 5 * backstay.GB}}
	gifts := divide(4*backstay.GB, wants)
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
		200 * mb: {"greedy": 40 * mb, "small": 80 * mb, "middling": 80 * mb},
		100 * mb: {"small": 80 * mb, "middling": 20 * mb},
	} {
		gifts := divide(spare, wants)
		for name := range wants {
			if gifts[name] != want[name] {
				t.Errorf("of %v, %s gets %v, want %v", spare, name, gifts[name], want[name])
			}
		}
	}
}

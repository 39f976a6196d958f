package volume

import (
	"cmp"
	"maps"
	"slices"

	"github.com/backstay/backstay"
)

// portion is what less than everything is given in whole numbers of, so that the ballast of a volume that does not grow
// is not changed for every block that another one takes.
const portion = 4 * backstay.MB

// Last is the room that each volume has for deleting, and for whoever uses it to end in an orderly way. What a volume
// has of it is never given to another one, whoever has used up the pool.
const Last = 64 * backstay.MB

// least is what a volume gets before any gets more: with less, whoever uses it would have to stop writing. Where either
// is much of what a volume has and can take, on average, it is less.
const (
	least     = 80 * backstay.MB
	leastPart = 4 // of the average
	lastPart  = 2
)

// want is what a volume could take, how much of it is free now, how much it took lately, and how much it has.
type want struct{ room, free, pace, used backstay.Bytes }

// keeps is what a volume has of its last room. One that is new has nothing to delete.
func (w want) keeps() backstay.Bytes { return max(0, min(Last, w.room, w.free, w.used)) }

// paces are how many times what a volume took since the last balance it should have, until the next one.
const paces = 16

// isShort tells whether a volume that got so much may have used it up before it is looked at again.
func (w want) isShort(gift backstay.Bytes) bool {
	return w.pace > 0 && gift < min(w.room, paces*w.pace)
}

// divide shares spare among volumes, none of which gets more than it wants. First each keeps what it has of its last
// room, for which there is the reserve too, as much as kept. If there is not enough, half of it is for all alike, so
// that one that begins to write has room, and half for those that grow, as quickly as each does. If there is not even
// the least for all, those that have less come first: whoever has used up the pool stops before others do.
func divide[ID cmp.Ordered](spare, kept backstay.Bytes, wants map[ID]want) map[ID]backstay.Bytes {
	gifts := make(map[ID]backstay.Bytes, len(wants))
	alike := func(want) float64 { return 1 }
	growing := func(w want) float64 { return float64(w.pace) }
	rest := max(0, spare)
	first := raise(max(rest, kept), wants, gifts, want.keeps)
	keeping := maps.Clone(gifts)
	average := averageOf(rest, wants)
	for _, floor := range []backstay.Bytes{min(Last, average/lastPart), min(least, average/leastPart)} {
		first += raise(rest-first, wants, gifts, func(want) backstay.Bytes { return floor })
	}
	first += pour(max(0, rest/2-first), wants, gifts, alike)
	rest = max(0, rest-first)
	rest -= pour(rest, wants, gifts, growing)
	pour(rest, wants, gifts, alike)
	for id, gift := range gifts {
		if gift < wants[id].room {
			gifts[id] = max(keeping[id], gift/portion*portion)
		}
	}
	return gifts
}

// averageOf is what a volume has and can take, on average.
func averageOf[ID cmp.Ordered](spare backstay.Bytes, wants map[ID]want) backstay.Bytes {
	all := spare
	for _, w := range wants {
		all += w.used
	}
	return all / backstay.Bytes(max(len(wants), 1))
}

// raise gives each volume as much as floor says of it, as long as amount lasts, and returns what it gave. Those that
// use little come first.
func raise[ID cmp.Ordered](
	amount backstay.Bytes, wants map[ID]want, gifts map[ID]backstay.Bytes, floor func(want) backstay.Bytes,
) (given backstay.Bytes) {
	byUse := func(a, b ID) int { return cmp.Or(cmp.Compare(wants[a].used, wants[b].used), cmp.Compare(a, b)) }
	for _, id := range slices.SortedFunc(maps.Keys(wants), byUse) {
		more := min(floor(wants[id]), wants[id].room) - gifts[id]
		more = max(0, min(more, amount-given))
		gifts[id] += more
		given += more
	}
	return given
}

// pour adds to gifts, in proportion to weights, until amount is used up or no volume of any weight wants more, and
// returns what it added.
func pour[ID comparable](
	amount backstay.Bytes, wants map[ID]want, gifts map[ID]backstay.Bytes, weight func(want) float64,
) backstay.Bytes {
	poured := backstay.Bytes(0)
	for filled := true; filled; {
		total := 0.0
		for id, w := range wants {
			if gifts[id] < w.room {
				total += weight(w)
			}
		}
		filled = false
		left := amount - poured
		for id, w := range wants {
			missing := w.room - gifts[id]
			if missing <= 0 || weight(w) == 0 {
				continue
			}
			share := backstay.Bytes(float64(left) * weight(w) / total)
			if missing <= share {
				filled = true
			}
			share = min(share, missing, amount-poured)
			gifts[id] += share
			poured += share
		}
	}
	return poured
}

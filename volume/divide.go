package volume

import "github.com/backstay/backstay"

// portion is what less than everything is given in whole numbers of, so that the ballast of a volume that does not grow
// is not changed for every block that another one takes.
const portion = 4 * backstay.MB

// want is what a volume could take, and how much it took lately.
type want struct{ room, pace backstay.Bytes }

// paces are how many times what a volume took since the last balance it should have, until the next one.
const paces = 16

// isShort tells whether a volume that got so much may have used it up before it is looked at again.
func (w want) isShort(gift backstay.Bytes) bool {
	return w.pace > 0 && gift < min(w.room, paces*w.pace)
}

// divide shares spare among volumes, none of which gets more than it wants. If there is not enough, half of it is for
// all alike, so that one that begins to write has room, and half for those that grow, as quickly as each does.
func divide[ID comparable](spare backstay.Bytes, wants map[ID]want) map[ID]backstay.Bytes {
	gifts := make(map[ID]backstay.Bytes, len(wants))
	alike := func(want) float64 { return 1 }
	growing := func(w want) float64 { return float64(w.pace) }
	rest := max(0, spare)
	rest -= pour(rest/2, wants, gifts, alike)
	rest -= pour(rest, wants, gifts, growing)
	pour(rest, wants, gifts, alike)
	for id, gift := range gifts {
		if gift < wants[id].room {
			gifts[id] = gift / portion * portion
		}
	}
	return gifts
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

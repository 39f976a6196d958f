package drill

import (
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Most is how many drills of an instance are remembered.
const Most = 20

// ErrNobody is of a drill of an instance to which nobody could have written.
var ErrNobody error = backstay.Errorf(backstay.Unavailable, "The service instance did not answer before.")

// Last is the drill under way, or else the one of these that ended last; nil: there was none.
func Last(underWay *backend.Drill, ended []backend.Drill) *backend.Drill {
	if underWay != nil || len(ended) == 0 {
		return underWay
	}
	last := ended[len(ended)-1]
	return &last
}

// Remember returns those that have ended, with one more, and without those that are too old to be remembered.
func Remember(ended []backend.Drill, seen backend.Drill) []backend.Drill {
	ended = append(slices.Clone(ended), seen)
	return ended[max(0, len(ended)-Most):]
}

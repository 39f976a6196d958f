package instance

import (
	"fmt"
	"slices"
	"time"
)

// A primary that dies again soon after it was made that is started again first (see overtakes), so that two nodes with
// one fault do not take turns. Where it goes on nevertheless, it is told: something kills whichever node serves.
const (
	flappingWithin  = 10 * time.Minute
	flappingAfter   = 3 // changes of the primary
	flappingTrouble = "failovers"
)

// noteReplaced notes that the primary was replaced now, without anybody's wish. What is too old to count is forgotten.
func (r *Record) noteReplaced(now time.Time) {
	r.Replaced = append(r.replacedSince(now.Add(-flappingWithin)), now.UTC())
	r.Replaced = r.Replaced[max(0, len(r.Replaced)-10):] // as many as anybody wants to read of
}

func (r Record) replacedSince(moment time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(r.Replaced), func(at time.Time) bool { return at.Before(moment) })
}

// tellFlapping tells that the primary was replaced again and again, or that it was not for a while.
func (in *Instance) tellFlapping() {
	r := in.Record()
	replaced := r.replacedSince(in.m.Now().Add(-flappingWithin))
	if len(replaced) < flappingAfter {
		in.complain(flappingTrouble, "")
		return
	}
	in.complain(flappingTrouble, fmt.Sprintf("The primary was replaced %d times since %s UTC. The last time: %s",
		len(replaced), replaced[0].Format(time.TimeOnly), r.Failover.Why))
}

package broker

import (
	"slices"
	"time"
)

// maintainedAtOnce is how many instances of one backend are worked on at a time in their maintenance windows: few
// enough that none waits long for the disk while it is down.
const maintainedAtOnce = 4

// task is what is done to an instance in its maintenance window.
type task int

const (
	nothing task = iota
	pendingTask
	upgradeTask
	drillTask
)

// view is what decides about an instance, with its windows complete.
type view struct {
	Scheduled
	upgradable bool // there is a newer build than the one that serves
	undrilled  bool // a drill is to be held in each window, could be now, and was not yet in this one
}

// due says what is to be done to an instance now.
func due(v view, now time.Time) task {
	opens, _ := v.Windows.Maintenance.Next(now)
	switch {
	case v.Busy || now.Before(opens):
	case v.Pending.ID != "" && !now.Before(v.Pending.NotBefore):
		return pendingTask
	case v.upgradable && !now.Before(v.Rests):
		return upgradeTask
	case v.undrilled && !now.Before(v.Rests):
		return drillTask
	}
	return nothing
}

// allDue says to which instances something is to be done now, in which order. It leaves out those for which their
// backend has no room beside what is in progress there: they come later, or in their next window.
func allDue(views []view, now time.Time) []view {
	room := map[string]int{} // less maintainedAtOnce, by backend
	var candidates []view
	for _, v := range views {
		switch {
		case v.Kept:
			room[v.Backend]--
		case due(v, now) != nothing:
			candidates = append(candidates, v)
		}
	}
	slices.SortStableFunc(candidates, func(a, b view) int { // whose window closes first
		_, aCloses := a.Windows.Maintenance.Next(now)
		_, bCloses := b.Windows.Maintenance.Next(now)
		return aCloses.Compare(bCloses)
	})
	return slices.DeleteFunc(candidates, func(v view) bool {
		room[v.Backend]--
		return room[v.Backend]+maintainedAtOnce < 0
	})
}

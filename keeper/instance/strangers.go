package instance

import "sync"

// strangers counts how often a node that follows may not have heard of a user in time. What it has caught up with by
// then is told by the count, see secondSight.caught. The zero strangers is of a node that has heard of all.
type strangers struct {
	mu      sync.Mutex
	count   int64
	dropped int64 // the count when a user was dropped last, who may have a session there
}

// add counts a user who was made, or dropped.
func (s *strangers) add(dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; dropped {
		s.dropped = s.count
	}
}

// now is what a node catches up with that begins to do so now.
func (s *strangers) now() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// know tells what a node is fit for that has caught up so far: it takes new sessions if it knows all users, and the
// sessions there go on if none can be of a user who was dropped.
func (s *strangers) know(caught int64) (all, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return caught == s.count, caught >= s.dropped
}

package instance

import (
	"sync"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/process"
)

// A disk that is taken out of the way while a process works on it is not gone for that process: it serves on, where
// nobody else finds what it writes. Nothing can be changed about it, nothing is archived, and whatever is done for it
// by the names of its files meets another place, or none.

// errAdrift is that of a node whose disk was taken out of the way below it.
var errAdrift error = backstay.Errorf(backstay.Unavailable, "The disk of the node was taken away while it served.")

// footing is whether the process of a place still works where the place is. It is looked at while nobody waits: a disk
// may not answer that either.
type footing struct {
	mu      sync.Mutex
	looking bool
	adrift  int // the process that was seen to be; 0: none
}

// look looks once more, unless that is under way.
func (f *footing) look(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looking {
		return
	}
	f.looking = true
	go func() {
		adrift := process.IsAdrift(pid)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.looking, f.adrift = false, 0; adrift {
			f.adrift = pid
		}
	}()
}

// isLost tells whether the process was seen to work elsewhere when it was looked at last.
func (f *footing) isLost(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.adrift == pid
}

// lookAtFootings looks where the processes of the two nodes work.
func (in *Instance) lookAtFootings() {
	p := in.Record().Place
	if s := in.seen.process; s != nil {
		in.access[p].look(s.PID)
	}
	if s := in.seen.second.process; s != nil {
		in.access[p.other()].look(s.PID)
	}
}

// isAdrift tells whether the disk of the primary was taken out of the way below it.
func (in *Instance) isAdrift() bool {
	s := in.seen.process
	return s != nil && in.access[in.Record().Place].isLost(s.PID)
}

// wantFooting refuses a second whose disk was taken out of the way below it.
func (in *Instance) wantFooting() error {
	if s := in.seen.second.process; s != nil && in.access[in.Record().Place.other()].isLost(s.PID) {
		return errAdrift
	}
	return nil
}

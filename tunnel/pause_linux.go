package tunnel

import (
	"time"

	"golang.org/x/sys/unix"
)

// pause is a sleep of microseconds. The runtime's own sleeps for a millisecond when there is nothing else
// to do, in which sixteen times as much could have been carried.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	unix.Nanosleep(&t, nil)
}

package custody

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Of ioprio_set(2): the class of who gets the disk when nobody else wants it.
const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13
)

// niceness is the priority of what is done in the background: the databases come first, and yet it comes to its end on
// a machine that is never idle.
const niceness = 10

// quietly does something, with all processes that it starts, with little priority for processor and disk, as far as
// the system lets us. Both belong to a thread and to whoever is forked from it. The thread ends with the work: it could
// not be given its priority back.
func quietly(do func() error) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) // what cannot be set is done as it is
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioIdle)
		ended <- do()
	}()
	return <-ended
}

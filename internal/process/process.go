// Package process watches and signals processes that need not be our children: a pid is turned into
// a pidfd at once, so that it can never come to mean another process. It starts none but commands that end with us.
package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a process that was alive when it was opened.
type Process struct {
	PID  int
	file *os.File // the pidfd
	done chan struct{}
}

// Open takes hold of a process. It is os.ErrProcessDone if there is none of that pid, or only a zombie.
func Open(pid int) (*Process, error) {
	if pid <= 0 {
		return nil, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	if ended(uintptr(fd)) {
		unix.Close(fd)
		return nil, os.ErrProcessDone
	}
	p := &Process{PID: pid, file: os.NewFile(uintptr(fd), "pidfd"), done: make(chan struct{})}
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.file.Close()
		return nil, err
	}
	go func() {
		raw.Read(ended) // parks until the process has ended, or Close
		close(p.done)
	}()
	return p, nil
}

// ended tells whether the process of a pidfd has ended: only then is it readable.
func ended(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}

// Done is closed when the process has ended, and by Close.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal. To a process that has ended it does nothing.
func (p *Process) Signal(s syscall.Signal) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// Borrow calls use with a duplicate of what the process has open as number, if it has: it is closed when
// use returns. The kernel gives it to whoever may trace the process.
func (p *Process) Borrow(number int, use func(fd int)) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	fd, got := -1, error(nil)
	if err := raw.Control(func(pidfd uintptr) { fd, got = unix.PidfdGetfd(int(pidfd), number, 0) }); err != nil {
		return err
	}
	if errors.Is(got, unix.EBADF) || errors.Is(got, unix.ESRCH) { // closed since, or ended
		return nil
	}
	if got != nil {
		return fmt.Errorf("borrow file %d of process %d: %w", number, p.PID, got)
	}
	use(fd)
	return unix.Close(fd)
}

// Close lets go of the process, which runs on.
func (p *Process) Close() error { return p.file.Close() }

// WorksIn tells whether the working directory of the process that has the pid now is dir or below it.
func WorksIn(pid int, dir string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(dir, strings.TrimSuffix(cwd, " (deleted)")) // so the kernel names what is gone
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// IsAdrift tells whether a process works in a directory that nobody can find any more by the name that it had: what was
// mounted there was taken out of the way while it was in use, or it was removed.
func IsAdrift(pid int) bool {
	link := fmt.Sprintf("/proc/%d/cwd", pid)
	path, err := os.Readlink(link)
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	works, errWorks := os.Stat(link)
	return err == nil && errWorks == nil && !os.SameFile(named, works)
}

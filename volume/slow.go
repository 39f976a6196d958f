package volume

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// ballastPatience is for a file system that has to set its ballast, until no other volume waits for it any longer. On a
// busy machine one that works takes more than a second.
const ballastPatience = 5 * time.Second

// slow are the volumes whose file systems were asked for something that they have not done yet. One that is frozen, or
// whose disk does not answer, keeps whoever asks in the kernel, and nothing there can be given up: so it is not asked
// again until it has answered, and the other volumes do not wait for it.
type slow struct {
	sync.Mutex
	asked map[backstay.InstanceID]bool
}

// do has the volume's file system do something. It is Unavailable where that takes too long, or where something else
// still does.
func (s *slow) do(id backstay.InstanceID, m *mounted, work func(*mounted) error) error {
	if !s.enter(id) {
		return backstay.Errorf(backstay.Unavailable, "Its file system does not answer.")
	}
	held, err := m.again()
	if err != nil {
		s.leave(id)
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := work(held)
		held.close()
		s.leave(id)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(ballastPatience):
		return backstay.Errorf(backstay.Unavailable, "Its file system has not answered for %v.", ballastPatience)
	}
}

func (s *slow) enter(id backstay.InstanceID) bool {
	s.Lock()
	defer s.Unlock()
	if s.asked[id] {
		return false
	}
	if s.asked == nil {
		s.asked = map[backstay.InstanceID]bool{}
	}
	s.asked[id] = true
	return true
}

func (s *slow) leave(id backstay.InstanceID) {
	s.Lock()
	defer s.Unlock()
	delete(s.asked, id)
}

// again holds the volume open a second time.
func (m *mounted) again() (*mounted, error) {
	fd, err := unix.FcntlInt(m.dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	held := *m
	held.dir = os.NewFile(uintptr(fd), m.dir.Name())
	return &held, nil
}

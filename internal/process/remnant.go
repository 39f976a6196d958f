package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killGrace is how long the kernel may take to end what was killed.
const killGrace = 20 * time.Second

// KillIn kills all processes that work in a directory or below it, and returns when they have ended. It looks again
// until there is none: one that is killed may just have started another.
func KillIn(dir string) error {
	for {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		found := false
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == os.Getpid() || !WorksIn(pid, dir) {
				continue
			}
			found = true
			if err := killIn(pid, dir); err != nil {
				return err
			}
		}
		if !found {
			return nil
		}
	}
}

func killIn(pid int, dir string) error {
	p, err := Open(pid)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if !WorksIn(pid, dir) { // the pid has changed hands
		return nil
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(killGrace):
		return fmt.Errorf("process %d does not end", pid)
	}
}

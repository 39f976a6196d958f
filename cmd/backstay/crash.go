//go:build crashtest

package main

import (
	"os"
	"syscall"

	"github.com/backstay/backstay/internal/step"
)

// In the binary that the crash test builds, a process kills itself behind the step that
// BACKSTAY_KILL_AFTER names, once: the file BACKSTAY_KILLED remembers that it has.
func init() {
	name, killed := os.Getenv("BACKSTAY_KILL_AFTER"), os.Getenv("BACKSTAY_KILLED")
	step.After = func(done string) {
		if done != name {
			return
		}
		f, err := os.OpenFile(killed, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return // not the first time
		}
		f.Close()
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens in this process
	}
}

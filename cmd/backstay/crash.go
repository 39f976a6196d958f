//go:build crashtest

package main

import (
	"os"
	"time"

	"github.com/backstay/backstay/internal/step"
)

// In the binary that the crash test builds, a process stands still behind the step that
// BACKSTAY_STOP_AFTER names, if it can take the file BACKSTAY_STOPPED.armed away: it makes the file
// BACKSTAY_STOPPED, and goes on when that is gone, if nobody has killed it by then.
func init() {
	name, stopped := os.Getenv("BACKSTAY_STOP_AFTER"), os.Getenv("BACKSTAY_STOPPED")
	if name == "" {
		return
	}
	step.After = func(done string) {
		if done != name {
			return
		}
		if os.Remove(stopped+".armed") != nil {
			return
		}
		if err := os.WriteFile(stopped, nil, 0o600); err != nil {
			panic(err)
		}
		for {
			if _, err := os.Stat(stopped); os.IsNotExist(err) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// Package wait is how everything here tries again until something holds: at once, then after pauses,
// and never longer than its context lives. Nothing that a notification could tell is waited for like this.
package wait

import (
	"context"
	"time"
)

// Pauses is the time between one try and the next.
type Pauses struct {
	first, last time.Duration
}

// Every pauses for the same time between tries.
func Every(d time.Duration) Pauses { return Pauses{first: d, last: d} }

// Growing pauses for first, then for a quarter more each time, and never for longer than last.
func Growing(first, last time.Duration) Pauses { return Pauses{first: first, last: last} }

// Until calls try, at once and after each pause, until it says that it need not be called again; it
// returns what try returned then. When ctx ends first, it returns the error of the last try, or ctx's
// if that had none.
func Until(ctx context.Context, p Pauses, try func() (again bool, err error)) error {
	for pause := p.first; ; pause = min(pause*5/4, p.last) {
		again, err := try()
		if !again {
			return err
		}
		if ended := Pause(ctx, pause); ended != nil {
			if err != nil {
				return err
			}
			return ended
		}
	}
}

// Pause waits for d, or until ctx ends, whose error it then returns.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

//go:build !linux

package tunnel

import "time"

// pause does nothing where a short sleep is none.
func pause(time.Duration) {}

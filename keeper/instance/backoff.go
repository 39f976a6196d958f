package instance

import "time"

// backoff is the pause behind so many failures in a row: from nothing to half a minute.
func backoff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return min(25*time.Millisecond<<min(failures-2, 20), 30*time.Second)
}

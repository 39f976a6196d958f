package keeper

import "time"

// backoff grows from nothing to half a minute.
type backoff struct{ failures int }

func (b backoff) peek() time.Duration {
	if b.failures == 0 {
		return 0
	}
	return min(25*time.Millisecond<<min(b.failures-1, 20), 30*time.Second)
}

func (b *backoff) next() time.Duration {
	d := b.peek()
	b.failures++
	return d
}

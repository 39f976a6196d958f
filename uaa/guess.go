package uaa

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/netip"
	"time"
)

// limit is how many wrong passwords one key may have before it must wait.
type limit struct {
	key  string
	free int
}

// A user at one address has a few tries. The other two are far off, because they can keep others
// from logging in too: they are against one user being tried from many addresses, and many users
// from one.
const (
	freeTries          = 5
	freeTriesOfUser    = 50
	freeTriesOfAddress = 100
)

// longestWait bounds how long a guesser can keep a user out who has the right password.
const longestWait = 5 * time.Minute

// forgottenAfter is when failures no longer count. It is longer than any wait, so waiting one out
// gains one try, not a fresh start.
const forgottenAfter = time.Hour

func limits(account, address string) []limit {
	address = network(address)
	return []limit{
		{failureKey("user at address", account, address), freeTries},
		{failureKey("user", account), freeTriesOfUser},
		{failureKey("address", address), freeTriesOfAddress},
	}
}

// failureKey hashes its parts: what was typed as a username may be a password.
func failureKey(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		part := sha256.Sum256([]byte(p))
		h.Write(part[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func keysOf(ls []limit) []string {
	keys := make([]string, len(ls))
	for i, l := range ls {
		keys[i] = l.key
	}
	return keys
}

// lockedUntil is when the next try is heard: 1 s after the last failure once there are no free ones
// left, and twice as long after each further one.
func lockedUntil(f Failures, free int) time.Time {
	over := f.Count - free
	if over < 0 {
		return time.Time{}
	}
	wait := longestWait
	if over < 20 {
		wait = min(time.Second<<over, longestWait)
	}
	return f.Last.Add(wait)
}

// checkLocks fails while any of the limits is in force, also for the right password: or guessing
// would just go on.
func (s *Server) checkLocks(ctx context.Context, ls []limit) error {
	failures, err := s.Store.Failures(ctx, keysOf(ls))
	if err != nil {
		return err
	}
	var until time.Time
	for _, l := range ls {
		for _, f := range failures {
			if t := lockedUntil(f, l.free); f.Key == l.key && t.After(until) {
				until = t
			}
		}
	}
	if wait := until.Sub(s.now()); wait > 0 {
		return errLocked(wait)
	}
	return nil
}

// errLocked has the very sentence that the cf command knows, by which it stops asking.
func errLocked(wait time.Duration) error {
	return &uaaError{status: http.StatusUnauthorized, retryAfter: wait, Code: "unauthorized",
		Description: "Your account has been locked because of too many failed attempts to login."}
}

// network is whom failures are counted for: an IPv4 address, or the IPv6 network of one subscriber.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() {
		return address
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}

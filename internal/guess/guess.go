// Package guess slows down whoever guesses passwords: at each door, by whom they claim to be and from where they come.
// It keeps nothing; whoever asks has the failures that count.
package guess

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"
)

// Failures counts the wrong passwords that came in under one key.
type Failures struct {
	Key   string
	Count int
	Last  time.Time
}

// Limit is how many wrong passwords one key may have before it must wait.
type Limit struct {
	Key  string
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

// ForgottenAfter is when failures no longer count. It is longer than any wait, so waiting one out
// gains one try, not a fresh start.
const ForgottenAfter = time.Hour

// Limits are those of whoever claims to be the account, from an address, at a door: who guesses at one keeps nobody out
// of another. The first is the account's own there, which a right password forgives.
func Limits(door, account, address string) []Limit {
	if a, err := netip.ParseAddr(address); err == nil {
		address = Network(a).String()
	}
	return []Limit{
		{failureKey("user at address", door, account, address), freeTries},
		{failureKey("user", door, account), freeTriesOfUser},
		{failureKey("address", door, address), freeTriesOfAddress},
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

// Keys are those under which a failure counts.
func Keys(ls []Limit) []string {
	keys := make([]string, len(ls))
	for i, l := range ls {
		keys[i] = l.Key
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

// Wait is how long it takes until the next try is heard; not positive if it is heard now.
func Wait(failures []Failures, ls []Limit, now time.Time) time.Duration {
	var until time.Time
	for _, l := range ls {
		for _, f := range failures {
			if t := lockedUntil(f, l.free); f.Key == l.Key && t.After(until) {
				until = t
			}
		}
	}
	return until.Sub(now)
}

// Seconds are a wait as people are told it: whole seconds, and not less than it takes.
func Seconds(wait time.Duration) time.Duration {
	return max(wait+time.Second-1, time.Second).Truncate(time.Second)
}

// Network is whom failures are counted for: an IPv4 address, or the IPv6 network of one subscriber. Addresses that are
// none are all of one.
func Network(address netip.Addr) netip.Prefix {
	address = address.Unmap()
	return netip.PrefixFrom(address, min(address.BitLen(), 64)).Masked()
}

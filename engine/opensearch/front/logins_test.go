package front

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// Answers of the server.
const (
	letIn   = http.StatusOK
	refused = http.StatusUnauthorized
	away    = 0
)

// trial is logins by a clock of its own.
type trial struct {
	*logins
	t     *testing.T
	clock time.Time
}

func newTrial(t *testing.T) *trial {
	l := &trial{t: t}
	l.logins = newLogins(func() time.Time { return l.clock })
	return l
}

// try has an address try a login that the server would answer so, and wants it to be refused before by that status.
func (l *trial) try(from netip.Addr, said string, answer, want int) {
	l.t.Helper()
	login, status := l.begin(from, said)
	if status != want {
		l.t.Fatalf("%s is answered %d where it tries %s, want %d", from, status, said, want)
	}
	if status == 0 {
		login.end(answer)
	}
}

var here, there = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// TestLogins has addresses try to log in: those that fail wait in the end, alone, and who was let in never does.
func TestLogins(t *testing.T) {
	t.Parallel()
	l := newTrial(t)
	l.try(here, "known", letIn, 0)
	for i := range freeTries {
		l.try(here, fmt.Sprint("wrong ", i), refused, 0)
	}
	l.try(here, "wrong", refused, http.StatusTooManyRequests)
	l.try(here, "new", letIn, http.StatusTooManyRequests)
	l.try(here, "known", letIn, 0)
	l.try(here, "", refused, 0)
	l.try(there, "new", letIn, 0)
	l.try(here, "new", letIn, 0) // it is known by now
	l.clock = l.clock.Add(tryPause)
	l.try(here, "wrong", refused, 0)
	l.try(here, "wrong", refused, http.StatusTooManyRequests)

	l.try(here, "known", refused, 0) // its binding is gone
	l.try(here, "known", refused, http.StatusTooManyRequests)
	l.clock = l.clock.Add(freeTries * tryPause)
	for i := range freeTries {
		l.try(here, fmt.Sprint("wrong again ", i), refused, 0)
	}
	l.try(here, "wrong", refused, http.StatusTooManyRequests)
	for i := range 3 * freeTries {
		l.try(there, fmt.Sprint("right ", i), letIn, 0)
		l.try(there, "nobody answers", away, 0)
	}
}

// TestLoginsOfANetwork has each login come from another address of one subscriber: they are counted together, and apart
// from others.
func TestLoginsOfANetwork(t *testing.T) {
	t.Parallel()
	l := newTrial(t)
	at := func(network, host int) netip.Addr {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", network, host))
	}
	for i := range freeTries {
		l.try(at(1, i), fmt.Sprint("wrong ", i), refused, 0)
	}
	l.try(at(1, freeTries), "wrong", refused, http.StatusTooManyRequests)
	l.try(at(2, 1), "wrong", refused, 0)
}

// TestManyLogins has far more networks fail than are remembered, each with a login of its own: there is an end to what
// is remembered, one that waits still does, and who was let in is known as long as they come.
func TestManyLogins(t *testing.T) {
	t.Parallel()
	l := newTrial(t)
	for i := range freeTries {
		l.try(here, fmt.Sprint("wrong ", i), refused, 0)
	}
	l.try(there, "known", letIn, 0)
	for i := range 3 * mostNetworks {
		if i < mostNetworks {
			l.try(here, "known", letIn, 0)
		}
		l.try(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint("other ", i), refused, 0)
		if i == mostNetworks-1 {
			l.try(here, "wrong", refused, http.StatusTooManyRequests)
		}
	}
	if n := len(l.tries.recent) + len(l.tries.earlier); n > 2*mostNetworks {
		t.Errorf("%d networks are remembered", n)
	}
	if n := len(l.known.recent) + len(l.known.earlier); n > 2*mostKnown {
		t.Errorf("%d logins are remembered", n)
	}
}

// TestStaleLogin has one login fail on and on: it is refused without being tried, but for now and then, and others at
// its address go on.
func TestStaleLogin(t *testing.T) {
	t.Parallel()
	l := newTrial(t)
	for range mostRefused {
		l.try(here, "stale", refused, 0)
	}
	for range 2 * freeTries {
		l.try(here, "stale", refused, http.StatusUnauthorized)
	}
	l.try(here, "new", letIn, 0)
	l.clock = l.clock.Add(refusedPause)
	l.try(here, "stale", refused, 0)
	l.try(here, "stale", refused, http.StatusUnauthorized)
	l.clock = l.clock.Add(refusedPause)
	l.try(here, "stale", letIn, 0)
	l.try(here, "stale", letIn, 0)
}

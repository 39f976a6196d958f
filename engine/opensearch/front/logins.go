package front

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/guess"
)

// OpenSearch computes for a good part of a second before it refuses a name that it does not know, so that nobody learns
// which it does. It does so for everybody who asks, and the others wait for the processor meanwhile.
const (
	// freeTries is how many logins that fail a network has before it waits, and tryPause after how long it has another.
	freeTries = 20
	tryPause  = 5 * time.Second
	// One login that was refused that often in a row is refused without being tried, and costs no try, for so long: an
	// app that was unbound may ask on and on, and others in its network are not to wait for that.
	mostRefused  = 3
	refusedPause = 10 * time.Second
	// mostKnown is how many logins are remembered: more than there are bindings. mostNetworks is how many networks are:
	// more than the server can refuse a login before they have all of their tries again.
	mostKnown    = 1000
	mostNetworks = 10_000
)

// logins are the tries of networks to log in. One that was let in before costs the server next to nothing, and counts
// for nothing, whatever its network has done.
type logins struct {
	now func() time.Time
	key [32]byte

	mu    sync.Mutex
	known latest[login, outcome]
	tries latest[netip.Prefix, tries]
}

// login is what a request says of who it is of: a password lies in memory for no longer than that.
type login [sha256.Size]byte

// outcome is how a login has ended the last times.
type outcome struct {
	refused int       // how often in a row; 0: it was let in
	at      time.Time // when it was last
}

// tries are what a network has left at a time.
type tries struct {
	left  float64
	since time.Time
}

func newLogins(now func() time.Time) *logins {
	l := &logins{now: now, known: latest[login, outcome]{most: mostKnown},
		tries: latest[netip.Prefix, tries]{most: mostNetworks}}
	rand.Read(l.key[:]) // never fails
	return l
}

// attempt is a login that may be tried.
type attempt struct {
	known bool             // it was let in before
	end   func(status int) // takes the status of the answer, which is 0 if there is none
}

// begin returns the login that an address tries, or the status with which it is refused. Said is what the request says
// of who it is of.
func (l *logins) begin(address netip.Addr, said string) (a attempt, status int) {
	if said == "" {
		return attempt{end: func(int) {}}, 0 // it is refused at once
	}
	from := guess.Network(address)
	mac := hmac.New(sha256.New, l.key[:])
	mac.Write([]byte(said))
	of := login(mac.Sum(nil))
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	before, there := l.known.get(of)
	switch {
	case there && before.refused == 0:
		return attempt{known: true, end: func(status int) { l.end(of, status) }}, 0
	case before.refused >= mostRefused && now.Sub(before.at) < refusedPause:
		return attempt{}, http.StatusUnauthorized
	}
	left := l.left(from, now)
	if left < 1 {
		return attempt{}, http.StatusTooManyRequests
	}
	l.tries.put(from, tries{left - 1, now})
	return attempt{end: func(status int) {
		if status != http.StatusUnauthorized {
			l.giveBack(from)
		}
		l.end(of, status)
	}}, 0
}

// left is how many tries a network has now.
func (l *logins) left(from netip.Prefix, now time.Time) float64 {
	t, there := l.tries.get(from)
	if !there {
		return freeTries
	}
	return min(freeTries, t.left+now.Sub(t.since).Seconds()/tryPause.Seconds())
}

// giveBack gives a network the try that has not failed.
func (l *logins) giveBack(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.tries.put(from, tries{min(freeTries, l.left(from, now)+1), now})
}

// end remembers how a login has ended. That OpenSearch cannot answer says nothing of it.
func (l *logins) end(of login, status int) {
	if status == 0 || status >= http.StatusInternalServerError {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ended := outcome{}
	if status == http.StatusUnauthorized {
		before, _ := l.known.get(of)
		ended = outcome{before.refused + 1, l.now()}
	}
	l.known.put(of, ended)
}

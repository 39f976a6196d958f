package door

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/guess"
)

// Strangers are the connections on which nobody has logged in. They have places of their own, so that they take none of
// users. Where there is none left, one of those goes who has taken the most: nobody shuts others out by coming often.
type Strangers struct {
	mu  sync.Mutex
	all map[*Stranger]bool
	of  map[netip.Prefix]int // how many of all come from a network
}

// Stranger is one of these connections.
type Stranger struct {
	among *Strangers
	conn  net.Conn
	from  netip.Prefix
	heard time.Time // when it came, or has said something for the last time
}

// Enter gives a connection a place, of as many as most says. Where there are more then, the connection is closed that
// was not heard for longest, of the network that has the most.
func (s *Strangers) Enter(conn net.Conn, most int) *Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all, s.of = map[*Stranger]bool{}, map[netip.Prefix]int{}
	}
	c := &Stranger{among: s, conn: conn, from: networkOf(conn), heard: time.Now()}
	s.all[c] = true
	s.of[c.from]++
	for len(s.all) > max(most, 1) {
		gone := s.dispensable()
		s.remove(gone)
		gone.conn.Close()
	}
	return c
}

// Heard notes that it has said something.
func (c *Stranger) Heard() {
	c.among.mu.Lock()
	defer c.among.mu.Unlock()
	c.heard = time.Now()
}

// Leave gives the place back: somebody has logged in on the connection, or it has ended.
func (c *Stranger) Leave() {
	c.among.mu.Lock()
	defer c.among.mu.Unlock()
	c.among.remove(c)
}

func (s *Strangers) dispensable() (gone *Stranger) {
	for c := range s.all {
		switch {
		case gone == nil, s.of[c.from] > s.of[gone.from]:
			gone = c
		case s.of[c.from] == s.of[gone.from] && c.heard.Before(gone.heard):
			gone = c
		}
	}
	return gone
}

func (s *Strangers) remove(c *Stranger) {
	if !s.all[c] {
		return
	}
	delete(s.all, c)
	if s.of[c.from]--; s.of[c.from] == 0 {
		delete(s.of, c.from)
	}
}

// networkOf is where a connection comes from. All of which that is not known share one.
func networkOf(conn net.Conn) netip.Prefix {
	from, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return guess.Network(from.Addr())
}

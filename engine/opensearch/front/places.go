package front

import (
	"net"
	"sync"

	"github.com/backstay/backstay/engine/door"
)

// spare is how many more connections than those of users the front takes: others are about to log in.
const spare = 64

// places are the connections that there may be.
type places struct {
	path string // of the configuration

	mu    sync.Mutex
	most  int // as it was last read
	held  int
	users int // of them, on which somebody has logged in or is about to
}

// place is a connection that has one.
type place struct {
	net.Conn
	of     *places
	closed bool
	counts bool // as one of users
}

// narrow returns the listener without those for whom there is no place: they are closed at once.
func (p *places) narrow(l net.Listener) net.Listener { return &narrow{l, p} }

type narrow struct {
	net.Listener
	places *places
}

func (l *narrow) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.places.take(conn); c != nil {
			return c, nil
		}
		conn.Close()
	}
}

// take gives a connection a place, or returns nil.
func (p *places) take(conn net.Conn) *place {
	now, err := door.ReadConfig[Config](p.path)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.most = now.Connections
	}
	if p.held >= p.most+spare {
		return nil
	}
	p.held++
	return &place{Conn: conn, of: p}
}

// enter has the connection count as one of users, unless these are as many as the plan says.
func (c *place) enter() (most int, ok bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if !c.counts && c.of.users >= c.of.most {
		return c.of.most, false
	}
	if !c.counts {
		c.of.users++
		c.counts = true
	}
	return c.of.most, true
}

func (c *place) Close() error {
	c.of.mu.Lock()
	if !c.closed {
		c.closed = true
		c.of.held--
		if c.counts {
			c.of.users--
		}
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

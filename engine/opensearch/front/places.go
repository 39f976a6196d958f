package front

import (
	"net"
	"sync"

	"github.com/backstay/backstay/engine/door"
)

// spare is how many more connections of strangers there may be than of users.
const spare = 64

// places are the connections that there may be.
type places struct {
	path      string // of the configuration
	strangers door.Strangers

	mu    sync.Mutex
	most  int // of users, as it was last read
	users int
}

// place is a connection: a stranger's, until somebody has logged in there.
type place struct {
	net.Conn
	of       *places
	stranger *door.Stranger
	closed   bool
	counts   bool // as one of users
}

// give returns the listener. The connections that it accepts have places.
func (p *places) give(l net.Listener) net.Listener { return &giver{l, p} }

type giver struct {
	net.Listener
	places *places
}

func (l *giver) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.places.take(conn), nil
}

// take gives a connection the place of a stranger.
func (p *places) take(conn net.Conn) *place {
	now, err := door.ReadConfig[Config](p.path)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.most = now.Connections
	}
	return &place{Conn: conn, of: p, stranger: p.strangers.Enter(conn, p.most+spare)}
}

// full tells whether users have all connections that the plan has, and this is none of them.
func (c *place) full() (most int, full bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	return c.of.most, !c.counts && c.of.users >= c.of.most
}

// enter has the connection count as one of users, unless these are as many as the plan says.
func (c *place) enter() (ok bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.counts {
		return true
	}
	if c.of.users >= c.of.most {
		return false
	}
	c.of.users++
	c.counts = true
	c.stranger.Leave()
	return true
}

func (c *place) Close() error {
	c.of.mu.Lock()
	if !c.closed {
		c.closed = true
		if c.counts {
			c.of.users--
		}
		c.stranger.Leave()
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

package front

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// keepAlive finds out within two minutes that a client or a target has vanished without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// closeWait is how long a client may leave its side open when the server has closed its own. A pool does not notice
// that until it uses the connection, whose place others need.
const closeWait = 10 * time.Second

// session is a connection of a client's, from when it is accepted on.
type session struct {
	client   *net.TCPConn
	server   *net.TCPConn   // nil: it waits for one
	target   netip.AddrPort // where the server is
	began    time.Time
	up, down direction     // from the client to the server, and back
	over     chan struct{} // closed when nothing is done about it any more: it has ended, or stands still
	aborted  atomic.Bool
}

func newSession(client *net.TCPConn) *session { return &session{client: client, began: time.Now()} }

// run serves a session to its end, or until all stands still.
func (f *Front) run(s *session) {
	defer close(s.over)
	if s.server == nil {
		if err := f.connect(s); err != nil {
			if !errors.Is(err, errStill) {
				f.forget(s, err)
			}
			return
		}
	}
	if still := s.carry(closeWait); !still {
		f.forget(s, nil)
	}
}

// carry carries bytes both ways until both sides have ended, the client's at most closeWait after the server's, or one
// has failed, or all stands still.
func (s *session) carry(closeWait time.Duration) (still bool) {
	up := make(chan error, 1)
	go func() { up <- s.move(&s.up, s.client, s.server) }()
	down := s.move(&s.down, s.server, s.client)
	if down == nil {
		giveUp := time.AfterFunc(closeWait, s.abort)
		defer giveUp.Stop()
	}
	errs := errors.Join(down, <-up)
	return errors.Is(errs, os.ErrDeadlineExceeded) && !s.aborted.Load()
}

// move is one direction. If it fails, the other is over too: each side learns of it as it would without a front.
func (s *session) move(d *direction, from, to *net.TCPConn) error {
	err := d.run(from, to)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.abort()
	}
	return err
}

// abort ends both connections at once, by reset. What is on its way is lost.
func (s *session) abort() {
	s.aborted.Store(true)
	for _, c := range []*net.TCPConn{s.client, s.server} {
		_ = c.SetLinger(0) // fails only if it is closed
		c.Close()
	}
}

// interrupt makes a session that is carried stand still.
func (s *session) interrupt() {
	_ = s.client.SetDeadline(time.Unix(1, 0)) // fails only if it is closed, and then it has ended
	_ = s.server.SetDeadline(time.Unix(1, 0))
}

// resume undoes interrupt.
func (s *session) resume() {
	_ = s.client.SetDeadline(time.Time{})
	_ = s.server.SetDeadline(time.Time{})
}

// forget ends a session that is over. Without a server, it ends by reset: there is nobody to say more.
func (f *Front) forget(s *session, why error) {
	if s.server != nil {
		s.server.Close()
	} else {
		_ = s.client.SetLinger(0)
	}
	s.client.Close()
	s.up.release()
	s.down.release()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, s)
	f.count.ToTarget += s.up.bytes.Load()
	f.count.ToClient += s.down.bytes.Load()
	if errors.Is(why, errGivenUp) {
		f.count.GivenUp++
	}
	if s.server != nil {
		n := f.nodes[s.target]
		n.sessions--
		f.prune(s.target, n)
	}
}

package front

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// begin accepts connections, and has those that are there go on.
func (f *Front) begin() {
	for _, l := range f.listeners {
		_ = l.SetDeadline(time.Time{})
		f.accepting.Go(func() { f.accept(l) })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life.Err() != nil {
		f.life, f.still = context.WithCancelCause(context.Background())
	}
	for s := range f.sessions {
		if s.server != nil {
			s.resume()
		}
		f.start(s)
	}
}

// standStill is the opposite of begin. When it returns, no connection is touched by anyone.
func (f *Front) standStill() {
	for _, l := range f.listeners {
		_ = l.SetDeadline(time.Unix(1, 0))
	}
	f.accepting.Wait()
	f.mu.Lock()
	f.still(errStill)
	all := make([]*session, 0, len(f.sessions))
	for s := range f.sessions {
		if s.server != nil {
			s.interrupt()
		}
		all = append(all, s)
	}
	f.mu.Unlock()
	for _, s := range all {
		<-s.over
	}
}

// start has a session served. The caller holds the lock.
func (f *Front) start(s *session) {
	s.over = make(chan struct{})
	go f.run(s)
}

// acceptPause is how long no connection is accepted when there can be none, as when too many files are open.
const acceptPause = 50 * time.Millisecond

func (f *Front) accept(l *net.TCPListener) {
	for {
		client, err := l.AcceptTCP()
		switch {
		case err == nil:
			f.take(client)
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return
		default:
			f.Log.Error("a connection cannot be accepted", "error", err)
			time.Sleep(acceptPause)
		}
	}
}

// take begins a session, or refuses it by reset.
func (f *Front) take(client *net.TCPConn) {
	_ = client.SetKeepAliveConfig(keepAlive) // fails only if the client has gone, which shows soon enough
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sessions) >= f.most {
		f.count.Refused++
		_ = client.SetLinger(0)
		client.Close()
		return
	}
	s := newSession(client)
	f.sessions[s] = struct{}{}
	f.start(s)
}

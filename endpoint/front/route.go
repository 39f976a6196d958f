package front

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialPatience = 5 * time.Second        // for a target to take a connection
	avoided      = time.Second            // how long a target that failed comes after the others
	firstPause   = 5 * time.Millisecond   // before a target that failed is tried again
	lastPause    = 250 * time.Millisecond // the same, when it fails again and again
)

// node is a target, or one that was and still has sessions.
type node struct {
	told     bool
	sessions int // those that are being made included
	trouble  string
	since    time.Time // of the trouble
}

// way is where a connection may go, as long as current has not ended.
type way struct {
	target  netip.AddrPort // invalid: nowhere
	current context.Context
}

// look finds where a new connection goes: to the target with the fewest sessions, those that failed a moment ago last.
// It counts as a session until [Front.admit] or [Front.fail].
func (f *Front) look() way {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := way{current: f.current}
	if f.told.Held {
		return w
	}
	var best *node
	for _, t := range f.told.Targets {
		if n := f.nodes[t]; best == nil || n.before(best) {
			best, w.target = n, t
		}
	}
	if best != nil {
		best.sessions++
	}
	return w
}

func (n *node) before(o *node) bool {
	if n.avoided() != o.avoided() {
		return o.avoided()
	}
	return n.sessions < o.sessions
}

func (n *node) avoided() bool { return n.trouble != "" && time.Since(n.since) < avoided }

// lookAgain has connections that wait or are being made look again. The caller holds the lock.
func (f *Front) lookAgain() {
	f.change()
	f.current, f.change = context.WithCancel(context.Background())
}

// fail ends the attempt at a way that look has found. If it was not called off, the target is to blame.
func (f *Front) fail(ctx context.Context, w way, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[w.target]
	if ctx.Err() == nil && w.current.Err() == nil {
		if n.trouble == "" {
			f.Log.Warn("a target takes no connection; it is tried again", "target", w.target, "error", err)
		}
		n.trouble, n.since = err.Error(), time.Now()
	}
	n.sessions--
	f.prune(w.target, n)
}

// prune forgets a node that is no target and has no session. The caller holds the lock.
func (f *Front) prune(address netip.AddrPort, n *node) {
	if !n.told && n.sessions == 0 {
		delete(f.nodes, address)
	}
}

// Why a connection is not served.
var (
	errStill   = errors.New("connections stand still") // for a handover
	errGone    = errors.New("the client has gone")
	errGivenUp = errors.New("no target has taken the connection for too long")
)

// connect waits until s has a server.
func (f *Front) connect(s *session) error {
	f.mu.Lock()
	life := f.life
	f.mu.Unlock()
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	giveUp := time.AfterFunc(time.Until(s.began.Add(f.Patience)), func() { cancel(errGivenUp) })
	defer giveUp.Stop()
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		w := f.look()
		if w.target.IsValid() {
			server, err := dial(ctx, w)
			if err == nil && f.admit(s, w, server) {
				return nil
			}
			if err == nil {
				pause = firstPause
				continue // something has changed meanwhile
			}
			f.fail(ctx, w, err)
		}
		unwatch := watch(s.client, func() { cancel(errGone) })
		w.await(ctx, pause)
		unwatch()
	}
	return context.Cause(ctx)
}

// await returns when it is time to look for another way: if there was a target, which failed, after a pause.
func (w way) await(ctx context.Context, pause time.Duration) {
	var again <-chan time.Time
	if w.target.IsValid() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-again:
	case <-w.current.Done():
	case <-ctx.Done():
	}
}

// dial connects to the target, as long as it is one.
func dial(ctx context.Context, w way) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.current, cancel)()
	d := net.Dialer{Timeout: dialPatience, KeepAliveConfig: keepAlive}
	c, err := d.DialContext(ctx, "tcp", w.target.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// admit makes the server that of s, unless something has changed since the way was found: then a target may have been
// cut, and this one would not know.
func (f *Front) admit(s *session, w way, server *net.TCPConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[w.target]
	if w.current.Err() != nil || f.life.Err() != nil {
		n.sessions--
		f.prune(w.target, n)
		server.Close()
		return false
	}
	if n.trouble != "" {
		f.Log.Info("a target takes connections again", "target", w.target)
	}
	n.trouble = ""
	s.server, s.target = server, w.target
	return true
}

// watch calls gone when a client that waits has closed its connection, or the way to it is broken. Who closes only its
// own side has gone too: no client of a database does that before it was answered. What it has sent is left unread.
func watch(client *net.TCPConn, gone func()) (stop func()) {
	raw, err := client.SyscallConn()
	if err != nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := raw.Read(hungUp); err == nil {
			gone()
		}
	}()
	return func() {
		_ = client.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed, and then watching has ended
		<-done
		_ = client.SetReadDeadline(time.Time{})
	}
}

func hungUp(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil
}

package mux

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// Stream carries bytes both ways, each to its own end. It is a net.Conn.
type Stream struct {
	session *Session
	id      uint32
	in      inbound
	out     outbound
}

func newStream(s *Session, id uint32, window, credit int) *Stream {
	stream := &Stream{session: s, id: id}
	stream.in = inbound{half: newHalf(), window: window, first: window, room: window}
	stream.out = outbound{half: newHalf(), credit: credit}
	return stream
}

// half is one direction's end: how it ended, and for how long it is waited for.
type half struct {
	mu      *sync.Mutex
	changed *sync.Cond
	ended   bool  // in order
	err     error // or not
	until   time.Time
	alarm   *time.Timer
}

func newHalf() half {
	mu := new(sync.Mutex)
	return half{mu: mu, changed: sync.NewCond(mu)}
}

// fail ends a direction out of order, if it has not ended, and tells whether it had not. Its lock is held.
func (h *half) fail(err error) bool {
	if h.ended || h.err != nil {
		return false
	}
	h.err = err
	h.changed.Broadcast()
	return true
}

func (h *half) expired() bool { return !h.until.IsZero() && !time.Now().Before(h.until) }

func (h *half) setDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.alarm != nil {
		h.alarm.Stop()
	}
	h.until = t
	if !t.IsZero() {
		h.alarm = time.AfterFunc(time.Until(t), h.ring)
	}
	h.changed.Broadcast()
}

func (h *half) ring() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed.Broadcast()
}

// outbound is what is sent.
type outbound struct {
	half
	credit int // how much may be
}

// maxCredit keeps numbers small that the other end adds up.
const maxCredit = math.MaxInt32

func (o *outbound) gain(credit uint32) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if int64(o.credit)+int64(credit) > maxCredit {
		return fmt.Errorf("a credit of %d", credit)
	}
	o.credit += int(credit)
	o.changed.Broadcast()
	return nil
}

// reserve waits until some of n bytes may be sent, and tells how many.
func (o *outbound) reserve(n int) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		switch {
		case o.err != nil:
			return 0, o.err
		case o.ended:
			return 0, net.ErrClosed
		case o.expired():
			return 0, os.ErrDeadlineExceeded
		case o.credit > 0:
			n = min(n, o.credit, MaxData)
			o.credit -= n
			return n, nil
		}
		o.changed.Wait()
	}
}

// Write returns when the connection has taken all of b.
func (s *Stream) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		n, err := s.out.reserve(len(b) - written)
		if err == nil {
			err = s.session.write(frame{kind: kindData, stream: s.id, data: b[written : written+n]})
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// CloseWrite ends what is sent, in order.
func (s *Stream) CloseWrite() error {
	s.out.mu.Lock()
	ended, err := s.out.ended, s.out.err
	s.out.ended = err == nil
	s.out.changed.Broadcast()
	s.out.mu.Unlock()
	if ended || err != nil {
		return err
	}
	err = s.session.write(frame{kind: kindEnd, stream: s.id})
	s.forgetIfEnded()
	return err
}

func (s *Stream) forgetIfEnded() {
	if s.in.isOver() && s.out.isOver() {
		s.forget()
	}
}

func (h *half) isOver() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended || h.err != nil
}

func (s *Stream) forget() {
	s.session.forget(s.id)
	s.in.release(s.session.config.Growth)
}

// fail breaks what has not ended, and tells whether there was any. Both directions break as one: whoever waits for
// the first could else reset the second for a reason of its own, and the other end would hear that one.
func (s *Stream) fail(err error) bool {
	s.in.mu.Lock()
	s.out.mu.Lock()
	in, out := s.in.fail(err), s.out.fail(err)
	s.out.mu.Unlock()
	s.in.mu.Unlock()
	s.forget()
	return in || out
}

// Reset breaks what has not ended, and tells the other end by a number why.
func (s *Stream) Reset(code uint32) {
	if s.fail(&ResetError{Code: code}) {
		s.session.send(frame{kind: kindReset, stream: s.id, number: code})
	}
}

// Close ends what is sent in order, and breaks what has not been received by then.
func (s *Stream) Close() error {
	s.CloseWrite()
	s.Reset(0)
	return nil
}

// handle takes a frame of this stream.
func (s *Stream) handle(f frame) error {
	switch f.kind {
	case kindData:
		return s.receive(f.data)
	case kindCredit:
		return s.out.gain(f.number)
	case kindEnd:
		s.in.end()
		s.forgetIfEnded()
	case kindReset:
		s.fail(&ResetError{Code: f.number, Remote: true})
	}
	return nil
}

// ResetError is what a stream breaks with when one end resets it.
type ResetError struct {
	Code   uint32
	Remote bool // the other end did it
}

func (e *ResetError) Error() string {
	if e.Remote {
		return fmt.Sprintf("the stream was reset by the other end (%d)", e.Code)
	}
	return fmt.Sprintf("the stream was reset (%d)", e.Code)
}

// LeftError is what a session ends with when the other end left it.
type LeftError struct{ Code uint32 }

func (e *LeftError) Error() string { return fmt.Sprintf("the other end left (%d)", e.Code) }

// SetDeadline limits how long reading waits for data, and writing for credit.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline is SetDeadline for reading.
func (s *Stream) SetReadDeadline(t time.Time) error { s.in.setDeadline(t); return nil }

// SetWriteDeadline is SetDeadline for writing.
func (s *Stream) SetWriteDeadline(t time.Time) error { s.out.setDeadline(t); return nil }

// LocalAddr says nothing: a stream has no address.
func (s *Stream) LocalAddr() net.Addr { return addr{} }

// RemoteAddr says nothing either.
func (s *Stream) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "tunnel" }
func (addr) String() string  { return "tunnel" }

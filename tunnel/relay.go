package tunnel

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel/mux"
)

// Conn is one end of what is relayed: its directions end apart, and it can be ended in a way that
// nobody takes for an orderly end.
type Conn interface {
	io.ReadWriter
	CloseWrite() error
	Abort(k backstay.Kind)
	io.Closer // releases what is held, once both directions have ended
}

// Relay carries bytes both ways until both directions have ended, or one end fails: then the other is
// aborted. It returns what failed at which end; an orderly end is nil, nil.
func Relay(a, b Conn) (errA, errB error) {
	defer a.Close()
	defer b.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	fail := func(at, other Conn, err error) {
		mu.Lock()
		defer mu.Unlock()
		if errA != nil || errB != nil {
			return // the other direction's end follows from the first's
		}
		if at == a {
			errA = err
		} else {
			errB = err
		}
		other.Abort(backstay.Unavailable)
		at.Abort(backstay.Unavailable)
	}
	there, back := &flow{from: a, to: b}, &flow{from: b, to: a}
	there.other, back.other = back, there
	for _, f := range []*flow{there, back} {
		wg.Go(func() {
			switch r, w := f.carry(); {
			case r != nil:
				fail(f.from, f.to, r)
			case w != nil:
				fail(f.to, f.from, w)
			}
		})
	}
	wg.Wait()
	return errA, errB
}

// flow is one direction of a relay.
type flow struct {
	from, to Conn
	other    *flow
	run      atomic.Int64 // bytes since the other direction carried something
}

// A direction that has carried bulk while the other was silent waits a moment before it reads, if it
// got little the last time: servers write in small pieces, each of which would wake a dozen threads on
// its way. Whoever asks and answers never waits.
const (
	bulk   = 256 << 10
	moment = 100 * time.Microsecond
)

func (f *flow) gather(last int) {
	if f.count(last) > bulk && last < carrySize/2 {
		pause(moment)
	}
}

// count notes what was carried, and tells how much since the other direction carried something.
func (f *flow) count(n int) int64 {
	f.other.run.Store(0)
	return f.run.Add(int64(n))
}

// carrySize is as much as one frame of the multiplexer takes.
const carrySize = mux.MaxData

var buffers = sync.Pool{New: func() any { return new([carrySize]byte) }}

// carry carries until the end of from, passes the end on, and tells reading from writing when one fails.
// What a stream receives wakes nobody here, if it can be written at once.
func (f *flow) carry() (readErr, writeErr error) {
	from, delivers := f.from.(deliverer)
	to, tries := f.to.(mux.Sink)
	if !delivers || !tries {
		return f.copy()
	}
	if readErr, writeErr = from.Deliver(counting{to, f}); readErr != nil || writeErr != nil {
		return readErr, writeErr
	}
	return nil, f.to.CloseWrite()
}

// deliverer is a stream.
type deliverer interface {
	Deliver(mux.Sink) (readErr, writeErr error)
}

// counting counts what a stream delivers.
type counting struct {
	mux.Sink
	flow *flow
}

func (c counting) Write(b []byte) (int, error) {
	c.flow.count(len(b))
	return c.Sink.Write(b)
}

func (c counting) TryWrite(b []byte) (int, error) {
	c.flow.count(len(b))
	return c.Sink.TryWrite(b)
}

func (f *flow) copy() (readErr, writeErr error) {
	buffer := buffers.Get().(*[carrySize]byte)
	defer buffers.Put(buffer)
	for {
		n, err := f.from.Read(buffer[:])
		if n > 0 {
			if _, err := f.to.Write(buffer[:n]); err != nil {
				return nil, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, f.to.CloseWrite()
		case err != nil:
			return err, nil
		}
		f.gather(n)
	}
}

// TCP is a plain connection as a [Conn].
func TCP(c net.Conn) TCPConn { return TCPConn{c.(*net.TCPConn)} }

// TCPConn is a plain connection.
type TCPConn struct{ *net.TCPConn }

// TryWrite writes what the connection takes without waiting.
func (c TCPConn) TryWrite(b []byte) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	return tryWrite(raw, b)
}

// CloseWrite of a connection whose other end has gone altogether is no failure: all was delivered that
// could be.
func (c TCPConn) CloseWrite() error {
	c.TCPConn.CloseWrite()
	return nil
}

// Abort resets the connection: whoever reads at its other end gets an error and no end of file.
func (c TCPConn) Abort(backstay.Kind) {
	c.SetLinger(0)
	c.Close()
}

// TLS is a connection that speaks TLS over under.
func TLS(c *tls.Conn, under Conn) Conn { return tlsConn{c, under} }

type tlsConn struct {
	*tls.Conn
	under Conn
}

// CloseWrite ends TLS and what is below it, for servers that wait for that.
func (c tlsConn) CloseWrite() error {
	return errors.Join(c.Conn.CloseWrite(), c.under.CloseWrite())
}

func (c tlsConn) Abort(k backstay.Kind) { c.under.Abort(k) }
func (c tlsConn) Close() error          { return c.under.Close() }

// stream is one stream of the multiplexer as a Conn.
type stream struct{ *mux.Stream }

// Abort resets the stream and tells the other end why, as far as a number can.
func (s stream) Abort(k backstay.Kind) { s.Reset(uint32(k)) }

package mux

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// inbound is what is received.
type inbound struct {
	half
	queue  queue
	window int       // how much is taken in before somebody reads
	first  int       // what the window began with
	room   int       // how much of it the other end may still fill
	read   int       // since credit was given last
	given  time.Time // when that was

	sink    Sink // where it is delivered
	busy    bool // while what was queued is written to it
	sinkErr error
}

// Sink is where a stream is delivered.
type Sink interface {
	io.Writer
	TryWrite([]byte) (int, error) // writes what can be written without waiting, which may be nothing
}

// receive takes in data, and hands on what is taken at once.
func (s *Stream) receive(b []byte) error {
	i := &s.in
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.ended:
		return errors.New("data after their end")
	case len(b) > i.room:
		return errors.New("data without credit")
	case i.err != nil:
		return nil // nobody reads it any more
	}
	i.room -= len(b)
	n := i.handOn(b)
	if n < len(b) {
		i.queue.push(b[n:])
		i.changed.Broadcast()
	}
	return s.consumed(n)
}

// handOn writes to the sink past the queue, if there is nothing in it, and tells how much it took.
func (i *inbound) handOn(b []byte) int {
	if i.sink == nil || i.busy || i.sinkErr != nil || i.queue.size > 0 {
		return 0
	}
	n, err := i.sink.TryWrite(b)
	if err != nil {
		i.sinkErr = err
		i.changed.Broadcast()
	}
	return n
}

// consumed gives back as credit what was read, if it is enough.
func (s *Stream) consumed(n int) error {
	i := &s.in
	i.read += n
	if i.read < i.window/2 || i.ended || i.err != nil {
		return nil
	}
	credit := i.read + i.grow(s.session)
	i.read, i.given = 0, time.Now()
	i.room += credit
	return s.session.send(frame{kind: kindCredit, stream: s.id, number: uint32(credit)})
}

// grow doubles a window that is used up while word of that is still on its way, and tells by how much it
// grew.
func (i *inbound) grow(s *Session) int {
	rtt := time.Duration(s.rtt.Load())
	if time.Since(i.given) > 4*rtt || 2*i.window > s.config.MaxWindow ||
		!s.config.Growth.take(i.window, s.config.MaxGrowth) {
		return 0
	}
	i.window *= 2
	return i.window / 2
}

// release gives back what the window grew by.
func (i *inbound) release(g *Growth) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g.give(i.window - i.first)
	i.window = i.first
	if i.err != nil {
		i.queue.clear()
	}
}

func (i *inbound) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = i.err == nil
	i.changed.Broadcast()
}

// await waits for something to read; io.EOF is its orderly end. The lock is held.
func (i *inbound) await() error {
	for {
		switch {
		case i.err != nil:
			return i.err
		case i.sinkErr != nil, i.queue.size > 0:
			return nil
		case i.ended:
			return io.EOF
		case i.expired():
			return os.ErrDeadlineExceeded
		}
		i.changed.Wait()
	}
}

// Read waits for something to arrive, and reads as much of it as fits.
func (s *Stream) Read(b []byte) (int, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if err := s.in.await(); err != nil {
		return 0, err
	}
	n := s.in.queue.pop(b)
	return n, s.consumed(n)
}

var buffers = sync.Pool{New: func() any { return new([MaxData]byte) }}

// Deliver writes all that is received to a sink, until the orderly end, which is nil, nil. It tells reading from
// writing when one fails. Nobody may read the stream besides.
func (s *Stream) Deliver(to Sink) (readErr, writeErr error) {
	buffer := buffers.Get().(*[MaxData]byte)
	defer buffers.Put(buffer)
	i := &s.in
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sink = to
	defer func() { i.sink = nil }()
	for {
		switch err := i.await(); {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		case i.sinkErr != nil:
			return nil, i.sinkErr
		}
		n := i.queue.pop(buffer[:])
		if err := i.writeUnlocked(buffer[:n]); err != nil {
			return nil, err
		}
		if err := s.consumed(n); err != nil {
			return err, nil
		}
	}
}

// writeUnlocked lets the stream take in more meanwhile.
func (i *inbound) writeUnlocked(b []byte) error {
	i.busy = true
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		i.busy = false
	}()
	_, err := i.sink.Write(b)
	return err
}

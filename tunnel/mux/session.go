package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Carrier delivers frames whole and in order. One goroutine reads, one at a time writes, any ends it.
type Carrier interface {
	ReadFrame(into []byte) (int, error) // a *LeftError if the other end left
	WriteFrame([]byte) error
	Leave(code uint32) error // tells the other end, as long as that is quick, and closes
	Close() error
}

// Config is what an end decides for itself.
type Config struct {
	Window     int   // of each stream that this end opens, to begin with
	MaxWindow  int   // as much as a window grows
	MaxGrowth  int64 // as much as all windows of Growth grow beyond what they began with
	Growth     *Growth
	MaxStreams int           // open at a time, of those that the other end opens
	Interval   time.Duration // between pings
	Patience   time.Duration // for the answer to one
}

// Growth is how much windows have grown, of any number of sessions. One that may not grow is merely slower.
type Growth struct{ taken atomic.Int64 }

func (g *Growth) take(n int, most int64) bool {
	if g.taken.Add(int64(n)) <= most {
		return true
	}
	g.give(n)
	return false
}

func (g *Growth) give(n int) { g.taken.Add(-int64(n)) }

// Session is one end of a connection with streams. Its methods are safe for concurrent use.
type Session struct {
	carrier  Carrier
	config   Config
	accepted chan *Stream // nil at the end that opens

	writing sync.Mutex
	out     []byte // the frame that is written

	mu      sync.Mutex
	streams map[uint32]*Stream
	last    uint32 // the last stream that began
	waiting []frame
	pinged  time.Time // when the last ping was written, if it was not answered
	err     error
	ended   chan struct{} // closed with err set

	wake chan struct{} // tells the clerk of waiting frames
	rtt  atomic.Int64  // in nanoseconds; 0 until it is known
}

// Opener is the end that opens streams.
func Opener(c Carrier, config Config) *Session { return begin(c, config, nil) }

// Accepter is the end that accepts them.
func Accepter(c Carrier, config Config) *Session {
	return begin(c, config, make(chan *Stream, config.MaxStreams))
}

func begin(c Carrier, config Config, accepted chan *Stream) *Session {
	s := &Session{carrier: c, config: config, accepted: accepted,
		streams: map[uint32]*Stream{}, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	go func() { s.end(s.receive(), c.Close) }()
	go s.clerk()
	go s.watch()
	return s
}

// errEnded is why streams break when this end ended the session.
var errEnded = errors.New("the session was ended")

// Close ends the session at once. Streams that have not ended break.
func (s *Session) Close() { s.end(errEnded, s.carrier.Close) }

// Leave ends the session and tells the other end why.
func (s *Session) Leave(code uint32) {
	s.end(errEnded, func() error { return s.carrier.Leave(code) })
}

// Ended is closed when the session has ended.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Err says why a session ended, and nil while it lasts.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// end ends the session, the first time.
func (s *Session) end(err error, closing func() error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	streams := s.streams
	s.streams = nil
	close(s.ended)
	s.mu.Unlock()
	for _, stream := range streams {
		stream.fail(err)
	}
	closing()
}

// Open begins a stream.
func (s *Session) Open() (*Stream, error) {
	s.writing.Lock() // streams begin in the order of their numbers
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return nil, s.err
	}
	s.last++
	stream := newStream(s, s.last, s.config.Window, FirstWindow)
	s.streams[s.last] = stream
	s.mu.Unlock()
	return stream, s.writeLocked(frame{kind: kindOpen, stream: stream.id, number: uint32(s.config.Window)})
}

// Accept waits for a stream of the other end.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	select {
	case stream := <-s.accepted:
		return stream, nil
	case <-s.ended:
		return nil, s.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Session) write(f frame) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeLocked(f)
}

func (s *Session) writeLocked(f frame) error {
	s.out = f.appendTo(s.out[:0])
	if err := s.carrier.WriteFrame(s.out); err != nil {
		s.endUnread(err)
		return s.Err()
	}
	return nil
}

// lastWords is how long what the other end said before it went may take to be read.
const lastWords = time.Second

// endUnread ends a session that cannot be written to, and prefers what the other end says of that.
func (s *Session) endUnread(err error) {
	select {
	case <-s.ended:
	case <-time.After(lastWords):
		s.end(err, s.carrier.Close)
	}
}

func (s *Session) receive() error {
	buffer := make([]byte, MaxFrame)
	for {
		n, err := s.carrier.ReadFrame(buffer)
		if err != nil {
			return err
		}
		f, err := parse(buffer[:n])
		if err == nil {
			err = s.handle(f)
		}
		if err != nil {
			return fmt.Errorf("the other end of a tunnel broke its rules: %w", err)
		}
	}
}

// handle never waits for the other end.
func (s *Session) handle(f frame) error {
	switch f.kind {
	case kindOpen:
		return s.accept(f.stream, int(f.number))
	case kindPing:
		return s.send(frame{kind: kindPong})
	case kindPong:
		s.ponged()
		return nil
	}
	s.mu.Lock()
	stream := s.streams[f.stream]
	began := f.stream <= s.last
	s.mu.Unlock()
	switch {
	case stream != nil:
		return stream.handle(f)
	case began:
		return nil // on its way when the stream was reset
	}
	return fmt.Errorf("stream %d has not begun", f.stream)
}

func (s *Session) accept(id uint32, credit int) error {
	s.mu.Lock()
	if s.accepted == nil || id <= s.last || credit > maxCredit {
		defer s.mu.Unlock()
		return fmt.Errorf("stream %d cannot begin", id)
	}
	s.last = id
	stream := newStream(s, id, FirstWindow, credit)
	if s.streams != nil && len(s.streams) < s.config.MaxStreams {
		select {
		case s.accepted <- stream:
			s.streams[id] = stream
			s.mu.Unlock()
			return nil
		default:
		}
	}
	s.mu.Unlock()
	return s.send(frame{kind: kindReset, stream: id})
}

func (s *Session) forget(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, id)
}

// maxWaiting is how many frames wait for an end that does not read before it is given up.
const maxWaiting = 4096

// send leaves a frame to the clerk.
func (s *Session) send(f frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == maxWaiting {
		return errors.New("it asks, and does not read the answers")
	}
	s.waiting = append(s.waiting, f)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// clerk writes what must not hold up whoever has it said.
func (s *Session) clerk() {
	for {
		select {
		case <-s.ended:
			return
		case <-s.wake:
		}
		s.mu.Lock()
		frames := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		for _, f := range frames {
			if s.write(f) != nil {
				return
			}
		}
	}
}

package mux_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/tunnel/mux"
)

const patience = 30 * time.Second

// wire is one end of a carrier that holds no frame: who writes waits for who reads.
type wire struct {
	in, out chan []byte
	closed  chan struct{}
	close   func()
}

func wires() (a, b wire) {
	there, back, closed := make(chan []byte), make(chan []byte), make(chan struct{})
	end := sync.OnceFunc(func() { close(closed) })
	return wire{back, there, closed, end}, wire{there, back, closed, end}
}

func (w wire) ReadFrame(into []byte) (int, error) {
	select {
	case b := <-w.in:
		return copy(into, b), nil
	case <-w.closed:
		return 0, io.EOF
	}
}

func (w wire) WriteFrame(b []byte) error {
	select {
	case w.out <- bytes.Clone(b):
		return nil
	case <-w.closed:
		return io.ErrClosedPipe
	}
}

func (w wire) Leave(uint32) error { return w.Close() }
func (w wire) Close() error       { w.close(); return nil }

const window = 1 << 20

func config() mux.Config {
	return mux.Config{
		Window: window, MaxWindow: 8 * window, Growth: &mux.Growth{}, MaxStreams: 100, Interval: time.Hour,
		Patience: time.Hour,
	}
}

func sessions(t testing.TB) (opener, accepter *mux.Session) {
	t.Helper()
	a, b := wires()
	opener, accepter = mux.Opener(a, config()), mux.Accepter(b, config())
	t.Cleanup(opener.Close)
	t.Cleanup(accepter.Close)
	return opener, accepter
}

func streams(t testing.TB, opener, accepter *mux.Session) (opened, accepted *mux.Stream) {
	t.Helper()
	opened, err := opener.Open()
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = accepter.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*mux.Stream{opened, accepted} {
		s.SetDeadline(time.Now().Add(patience))
	}
	return opened, accepted
}

func pair(t testing.TB) (opened, accepted *mux.Stream) {
	opener, accepter := sessions(t)
	return streams(t, opener, accepter)
}

func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// Both ends write more than all windows hold before either would have to be read by the same goroutine.
func TestBothWaysAtOnceWithHalfClose(t *testing.T) {
	t.Parallel()
	opener, accepter := sessions(t)
	var all sync.WaitGroup
	for i := range 10 {
		a, b := streams(t, opener, accepter)
		for j, ends := range [][2]*mux.Stream{{a, b}, {b, a}} {
			sent := noise(uint64(2*i+j), 5*window+i)
			all.Go(func() { ends[0].Write(sent); ends[0].CloseWrite() })
			all.Go(func() {
				if got, err := io.ReadAll(ends[1]); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
				}
			})
		}
	}
	all.Wait()
}

// slow takes at once what chance lets it, and the rest in its own time.
type slow struct {
	got    bytes.Buffer
	chance *rand.Rand
}

func (s *slow) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(s.chance.IntN(50)) * time.Microsecond)
	return s.got.Write(b)
}

func (s *slow) TryWrite(b []byte) (int, error) { return s.got.Write(b[:s.chance.IntN(len(b)+1)]) }

func TestDeliversInOrder(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	sent := noise(1, 4*window)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(100<<10))
			a.Write(rest[:n])
			rest = rest[n:]
		}
		a.CloseWrite()
	}()
	to := &slow{chance: rand.New(rand.NewPCG(1, 2))}
	if r, w := b.Deliver(to); r != nil || w != nil || !bytes.Equal(to.got.Bytes(), sent) {
		t.Errorf("%d bytes of %d, %v, %v", to.got.Len(), len(sent), r, w)
	}
}

type full struct{ error }

func (f full) Write([]byte) (int, error)    { return 0, f.error }
func (f full) TryWrite([]byte) (int, error) { return 0, f.error }

func TestDeliverTellsWhichEndFailed(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.Write([]byte("x"))
	failed := errors.New("full")
	if r, w := b.Deliver(full{failed}); r != nil || !errors.Is(w, failed) {
		t.Errorf("a sink that fails: %v, %v", r, w)
	}
	a, b = pair(t)
	a.Reset(7)
	var reset *mux.ResetError
	if r, w := b.Deliver(&slow{}); w != nil || !errors.As(r, &reset) || reset.Code != 7 || !reset.Remote {
		t.Errorf("a stream that breaks: %v, %v", r, w)
	}
}

// A stream that nobody reads holds as much as its window and holds up no other.
func TestStalledStreamHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	opener, accepter := sessions(t)
	stalled, _ := streams(t, opener, accepter)
	stalled.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := stalled.Write(make([]byte, 2*window)); n != mux.FirstWindow || err == nil {
		t.Errorf("%d bytes went to nobody, %v", n, err)
	}
	a, b := streams(t, opener, accepter)
	sent := noise(1, 4*window)
	go func() { b.Write(sent); b.CloseWrite() }()
	if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestResetIsNoEnd(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.Write([]byte("half of"))
	if _, err := io.ReadFull(b, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	a.Reset(3)
	var reset *mux.ResetError
	if _, err := b.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != 3 {
		t.Errorf("reading: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.As(err, &reset) {
		t.Errorf("writing: %v", err)
	}
}

// Whoever is woken by a reset can reset the stream in turn: the other end hears the first reason all the same.
func TestFirstResetIsTheOneHeard(t *testing.T) {
	t.Parallel()
	opener, accepter := sessions(t)
	for range 2000 {
		a, b := streams(t, opener, accepter)
		go func() {
			a.Read(make([]byte, 1))
			a.Reset(9)
		}()
		runtime.Gosched() // the reader waits by now, most times
		a.Reset(2)
		var reset *mux.ResetError
		if _, err := b.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != 2 {
			t.Fatalf("reading: %v", err)
		}
	}
}

// What had ended in order can be read to its end, whatever happens after.
func TestResetUndoesNoEnd(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.Write([]byte("all"))
	a.Close()
	if _, err := b.Write(make([]byte, window)); err == nil {
		_, err = b.Write(make([]byte, window)) // more than anybody takes in
		if err == nil {
			t.Error("writing to a stream that was closed")
		}
	}
	if got, err := io.ReadAll(b); err != nil || string(got) != "all" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWindowsGrowAsMemoryAllows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		allowed int64
		most    int
	}{{0, mux.FirstWindow}, {mux.FirstWindow, 2 * mux.FirstWindow}} {
		a, b := wires()
		wide := config()
		wide.MaxGrowth, wide.Interval, wide.Patience = tc.allowed, time.Millisecond, patience
		far := distant{b, 5 * time.Millisecond}
		opener, accepter := mux.Opener(a, config()), mux.Accepter(far, wide)
		t.Cleanup(opener.Close)
		t.Cleanup(accepter.Close)
		from, to := streams(t, opener, accepter)
		go from.Write(make([]byte, 16*mux.FirstWindow))
		if _, err := io.ReadFull(to, make([]byte, 8*mux.FirstWindow)); err != nil {
			t.Fatal(err)
		}
		if got := accepter.Window(to); got != tc.most {
			t.Errorf("allowed %d: the window is %d, not %d", tc.allowed, got, tc.most)
		}
		to.Reset(0)
		if left := wide.Growth.Taken(); left != 0 {
			t.Errorf("%d were not given back", left)
		}
	}
}

// distant is a carrier that takes its time to read, for a round trip that is longer than reading.
type distant struct {
	wire
	time.Duration
}

func (d distant) WriteFrame(b []byte) error {
	time.Sleep(d.Duration)
	return d.wire.WriteFrame(b)
}

func TestSilenceEndsTheSession(t *testing.T) {
	t.Parallel()
	a, _ := wires()
	quick := config()
	quick.Interval, quick.Patience = 5*time.Millisecond, 50*time.Millisecond
	s := mux.Opener(a, quick)
	select {
	case <-s.Ended():
	case <-time.After(patience):
		t.Error("nobody answers, and the session lasts")
	}
}

func message(kind byte, stream uint32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, stream), rest...)
}

func TestBrokenRulesEndTheSession(t *testing.T) {
	t.Parallel()
	open := message(1, 1, 0, 1, 0, 0)
	for name, frames := range map[string][][]byte{
		"nothing":              {{}},
		"no kind":              {message(0, 1)},
		"unknown kind":         {message(99, 1)},
		"no stream":            {message(2, 1, 'x')},
		"twice":                {open, open},
		"no credit":            {message(1, 1)},
		"much credit":          {open, message(3, 1, 0x7f, 0xff, 0xff, 0xff)},
		"data after their end": {open, message(4, 1), message(2, 1, 'x')},
		"end that says more":   {open, message(4, 1, 'x')},
		"empty data":           {open, message(2, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := wires()
			s := mux.Accepter(b, config())
			go io.Copy(io.Discard, reader{a})
			for _, f := range frames {
				a.WriteFrame(f)
			}
			select {
			case <-s.Ended():
			case <-time.After(patience):
				t.Error("the session lasts")
			}
		})
	}
}

// reader reads all that an end writes.
type reader struct{ wire }

func (r reader) Read(b []byte) (int, error) { return r.ReadFrame(b) }

// Whatever the other end sends, an end does not panic, and takes in no more than its window.
func FuzzAccepter(f *testing.F) {
	open := message(1, 1, 0, 1, 0, 0)
	f.Add(append(append([]byte{9}, open...), append([]byte{6}, message(2, 1, 'x')...)...))
	f.Add(append(append([]byte{9}, open...), append([]byte{9}, message(5, 1, 0, 0, 0, 7)...)...))
	f.Add(append([]byte{5}, message(6, 0)...))
	f.Fuzz(func(t *testing.T, script []byte) {
		a, b := wires()
		s := mux.Accepter(b, config())
		defer s.Close()
		go io.Copy(io.Discard, reader{a})
		for len(script) > 0 { // a byte for the length, then the frame
			n := min(int(script[0]), len(script)-1)
			if a.WriteFrame(script[1:1+n]) != nil {
				return
			}
			script = script[1+n:]
		}
	})
}

package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel/mux"
)

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

// door lets one user in for as long as it knows them, and remembers until when something was held last.
type door struct {
	Gate
	mu      sync.Mutex
	unknown error
	until   time.Time
}

func (d *door) Authenticate(context.Context, string) (backstay.Actor, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return backstay.Actor{UserID: "u1"}, d.unknown
}

func (d *door) Hold(_ context.Context, _ []backstay.BindingID, until time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = until
	return nil
}

func (d *door) heldUntil() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until
}

func (d *door) forget(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unknown = err
}

// begin runs a session before the door, with a binding that was lent, until the test ends. It returns why it
// ended.
func begin(ctx context.Context, d *door) <-chan error {
	server := &Server{Authenticator: d, Gate: d, Log: slog.New(slog.DiscardHandler)}
	ours, theirs := wires()
	mux.Opener(theirs, muxConfig(new(mux.Growth)))
	s := &session{
		server: server, mux: mux.Accepter(ours, muxConfig(&server.growth)),
		lent: []backstay.BindingID{"b1"}, streams: map[*mux.Stream]backstay.BindingID{},
	}
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	return ended
}

// TestWhatIsLentIsHeld lives through a day of a tunnel, and looks at each minute.
func TestWhatIsLentIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		d := &door{}
		ended := begin(ctx, d)
		for range 24 * time.Hour / DefaultLease {
			time.Sleep(DefaultLease)
			synctest.Wait()
			if left := time.Until(d.heldUntil()); left < DefaultLease/2 {
				t.Fatalf("what is lent is held for %v more", left)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// TestUnknownRightsEndATunnel lets nobody know for a while who may what: a moment is no harm.
func TestUnknownRightsEndATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &door{}
		ended := begin(t.Context(), d)
		down := errors.New("the database is down")
		time.Sleep(checkInterval / 2) // so that nothing changes in the moment of a look
		d.forget(down)
		time.Sleep(maxUnknown - checkInterval)
		d.forget(nil)
		time.Sleep(checkInterval)
		d.forget(down)
		time.Sleep(maxUnknown)
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatalf("it ended too soon: %v", <-ended)
		}
		time.Sleep(2 * checkInterval)
		synctest.Wait()
		if len(ended) == 0 {
			t.Fatal("it goes on, and nobody knows who may")
		}
		if err := <-ended; !errors.Is(err, down) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// TestEndedLoginEndsATunnel at the next look.
func TestEndedLoginEndsATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &door{}
		ended := begin(t.Context(), d)
		time.Sleep(time.Hour + checkInterval/2)
		d.forget(backstay.Errorf(backstay.Anonymous, "Invalid Auth Token"))
		time.Sleep(checkInterval)
		synctest.Wait()
		if len(ended) == 0 {
			t.Fatal("it goes on")
		}
		if err := <-ended; backstay.KindOf(err) != backstay.Anonymous {
			t.Errorf("it ended with %v", err)
		}
	})
}

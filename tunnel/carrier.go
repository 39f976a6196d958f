package tunnel

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/backstay/backstay/tunnel/mux"
)

// A stream's window is how much one end takes in before somebody reads it: too small, and on a busy
// machine or a long line the other end stands still; too large, and streams that nobody reads fill the
// memory. It grows with the way's delay; how much all windows grow is memory's to say. What the server
// takes in to begin with is mux.FirstWindow.
const (
	clientWindow = 2 << 20   // as ssh has it
	maxWindow    = 8 << 20   // lets one stream carry 80 MB/s over a way of 100 ms
	maxGrowth    = 256 << 20 // all of a client's, and all of the tunnels of a server
)

func muxConfig(growth *mux.Growth) mux.Config {
	return mux.Config{
		Window: clientWindow, MaxWindow: maxWindow, MaxGrowth: maxGrowth, Growth: growth,
		MaxStreams: 2 * MaxStreams,   // a user's own limit is told in a sentence
		Interval:   15 * time.Second, // load balancers forget a connection that is silent for a minute
		Patience:   time.Minute,      // behind what a slow line still has to carry
	}
}

// carrier is a WebSocket that carries each frame of the multiplexer as a message. Nothing has a deadline, since
// each would cost more than what it watches: an end that does not answer is closed.
type carrier struct{ *websocket.Conn }

func newCarrier(c *websocket.Conn) carrier {
	c.SetReadLimit(mux.MaxFrame)
	return carrier{c}
}

func (c carrier) WriteFrame(b []byte) error {
	return c.Write(context.Background(), websocket.MessageBinary, b)
}

func (c carrier) ReadFrame(into []byte) (int, error) {
	_, r, err := c.Reader(context.Background())
	if err != nil {
		return 0, left(err)
	}
	n := 0
	for n < len(into) {
		m, err := r.Read(into[n:])
		n += m
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, left(err)
		}
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return n, errors.New("a message longer than any frame")
	}
	return n, nil
}

// leaving is the first of the WebSocket's own numbers for why a connection is closed, and ours for
// the first backstay.Kind.
const leaving websocket.StatusCode = 4000

// content is what a client leaves with that has all it came for, where a Kind would say why it must leave.
const content uint32 = 999

func left(err error) error {
	if status := websocket.CloseStatus(err); status >= leaving {
		return &mux.LeftError{Code: uint32(status - leaving)}
	}
	return err
}

func (c carrier) Leave(code uint32) error {
	return c.Conn.Close(leaving+websocket.StatusCode(code), "")
}

// Close closes at once: one that is out of reach would be waited for.
func (c carrier) Close() error { return c.CloseNow() }

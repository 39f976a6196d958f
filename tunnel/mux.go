package tunnel

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/libp2p/go-yamux/v5"

	"github.com/backstay/backstay"
)

// A stream's window is how much one end takes in before somebody reads it: too small, and on a busy
// machine or a long line the other end stands still; too large, and streams that nobody reads fill the
// memory. It grows with the way's delay; how much all windows grow is memory's to say.
const (
	clientWindow = 2 << 20   // as ssh has it
	serverWindow = 512 << 10 // for each of a user's streams
	maxWindow    = 8 << 20   // lets one stream carry 80 MB/s over a way of 100 ms
)

func muxConfig(window uint32) *yamux.Config {
	c := yamux.DefaultConfig()
	c.InitialStreamWindowSize = window
	c.LogOutput = io.Discard                // what went wrong comes as an error, and is logged once
	c.KeepAliveInterval = 15 * time.Second  // load balancers forget a connection that is silent for a minute
	c.MeasureRTTInterval = 15 * time.Second // laptops change networks
	c.ConnectionWriteTimeout = time.Minute  // for one frame, over a slow line
	c.MaxIncomingStreams = 2 * MaxStreams   // a user's own limit is told in a sentence
	c.AcceptBacklog = MaxStreams
	c.ReadBufSize = 64 << 10
	c.MaxMessageSize = carrySize + 12 // with its header
	c.MaxStreamWindowSize = maxWindow
	return c
}

// maxGrowth is how much windows may grow beyond what they begin with: all of a client's, and all of the
// tunnels of a server.
const maxGrowth = 256 << 20

// memory bounds what is buffered. A window that may not grow is merely slower.
func memory(grown *atomic.Int64) func() (yamux.MemoryManager, error) {
	return func() (yamux.MemoryManager, error) { return &share{grown: grown}, nil }
}

// share is one stream's part of it.
type share struct {
	grown *atomic.Int64 // of all streams
	own   atomic.Int64
	first atomic.Bool // whether the first window has been given, which every stream gets
}

func (s *share) ReserveMemory(size int, _ uint8) error {
	if s.first.CompareAndSwap(false, true) {
		return nil
	}
	if s.grown.Add(int64(size)) > maxGrowth {
		s.grown.Add(-int64(size))
		return errNoMemory
	}
	s.own.Add(int64(size))
	return nil
}

var errNoMemory = backstay.Errorf(backstay.Busy, "the streams of this tunnel hold enough")

func (s *share) ReleaseMemory(size int) {
	s.own.Add(-int64(size))
	s.grown.Add(-int64(size))
}

func (s *share) Done() { s.grown.Add(-s.own.Swap(0)) }

// carrier is a WebSocket as the multiplexer's connection. It closes at once: both ends have said all
// in the multiplexer's own way, and one that is out of reach would be waited for.
func carrier(ctx context.Context, c *websocket.Conn) net.Conn {
	return webSocket{websocket.NetConn(ctx, c, websocket.MessageBinary), c}
}

type webSocket struct {
	net.Conn
	under *websocket.Conn
}

func (w webSocket) Close() error { return w.under.CloseNow() }

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coder/websocket"
	"k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// PodWay connects to a port of one pod, whichever services lead elsewhere.
type PodWay func(ctx context.Context, namespace, pod string, port int) (net.Conn, error)

// forwarding is the protocol of the API server's port-forward, as it is spoken over a WebSocket.
const forwarding = portforward.WebsocketsSPDYTunnelingPrefix + portforward.PortForwardV1Name

// ForwardsOf goes by the API server's port-forward. It connects by the configuration's own client, since client-go's
// dialer knows nothing of Config.Dial.
func ForwardsOf(way *rest.Config) (PodWay, error) {
	way = rest.CopyConfig(way)
	way.NextProtos = []string{"http/1.1"} // a connection of HTTP/2 is nobody's own
	way.Timeout = 0                       // it would end the connection
	client, ofPod, err := podsOf(way)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
		c, err := forward(ctx, client, ofPod(namespace, pod, "portforward"), port)
		if err != nil {
			return nil, fmt.Errorf("forward to port %d of %s: %w", port, pod, err)
		}
		return c, nil
	}, nil
}

func forward(ctx context.Context, client *http.Client, u *url.URL, port int) (net.Conn, error) {
	socket, _, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{forwarding},
	})
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(-1)
	stop := context.AfterFunc(ctx, func() { socket.CloseNow() }) // what follows knows of no context
	defer stop()
	if socket.Subprotocol() != forwarding {
		return nil, errors.Join(errors.New("the cluster does not speak "+forwarding), socket.CloseNow())
	}
	tunnel := websocket.NetConn(context.Background(), socket, websocket.MessageBinary)
	inside, err := spdy.NewClientConnection(tunnel)
	if err != nil {
		return nil, errors.Join(err, tunnel.Close())
	}
	data, err := openStreams(inside, port)
	if err != nil {
		return nil, errors.Join(err, inside.Close())
	}
	return piped(data, inside), nil
}

// openStreams opens the two streams of a connection: what goes wrong comes by one of its own, which need not be read,
// since the other one ends then.
func openStreams(inside httpstream.Connection, port int) (data httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set("port", strconv.Itoa(port))
	headers.Set("requestID", "0")
	headers.Set("streamType", "error")
	failures, err := inside.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	if err := failures.Close(); err != nil { // for writing
		return nil, err
	}
	headers.Set("streamType", "data")
	return inside.CreateStream(headers)
}

// piped is a stream as a connection with deadlines, which a stream has not. Closing it closes what it goes through.
func piped(data httpstream.Stream, inside httpstream.Connection) net.Conn {
	ours, theirs := net.Pipe()
	end := func() { theirs.Close(); inside.Close() }
	go func() { defer end(); _, _ = io.Copy(data, theirs) }()
	go func() { defer end(); _, _ = io.Copy(theirs, data) }()
	return ours
}

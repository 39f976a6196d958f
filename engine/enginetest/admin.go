package enginetest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/backstay/backstay/engine"
)

// testFarAdmin administers a node over connections that a forwarder makes, and without the node's directories and
// processes, as if the node were on another machine.
func testFarAdmin(t *testing.T, s Subject) {
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	far := farAway(t, n)
	if err := s.Engine.Probe(t.Context(), far); err != nil {
		t.Fatalf("Probe: %v", err)
	}
	if c, ok := s.Engine.(engine.Configurer); ok {
		if err := c.Configure(t.Context(), far); err != nil {
			t.Errorf("Configure: %v", err)
		}
	}
	if err := settle(t.Context(), s.Engine, far); err != nil {
		t.Errorf("Settle: %v", err)
	}
	writer, reader := newUser(), newReader()
	s.session(t, s.createUser(t, far, writer), func(c Session) {
		mustSet(t, c, "k", "v")
		s.session(t, s.createUser(t, far, reader), func(r Session) { wantReadOnly(t, r, "k", "v") })
		if tender, ok := s.Engine.(engine.Tender); ok {
			if _, _, err := tender.Tend(t.Context(), far, ""); err != nil {
				t.Errorf("Tend: %v", err)
			}
		}
		mustDrop(t, s, far, reader)
		mustDrop(t, s, far, writer)
		if err := c.Set(t.Context(), "k", "w"); err == nil {
			t.Error("a session goes on though its user is gone")
		}
	})
}

// farAway returns the node as an administrator on another machine would know it.
func farAway(t *testing.T, n engine.Node) engine.Node {
	address := forward(t, n.Admin.Dial)
	var users sync.Mutex
	a := engine.Admin{User: n.Admin.User, Secret: n.Admin.Secret}
	a.Dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	a.Lock = func(context.Context) (unlock func() error, err error) {
		users.Lock()
		return func() error { users.Unlock(); return nil }, nil
	}
	n.Admin = a
	n.DataDir, n.LogFile, n.RunDir, n.CacheDir = "/no/data", "/no/log", "/no/run", "/no/cache"
	n.Account, n.Operator = nil, ""
	return n
}

// forward listens on a TCP port and forwards each connection to one that dial makes, until the test ends.
func forward(t *testing.T, dial func(context.Context) (net.Conn, error)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { carry(near, dial) })
		}
	})
	return l.Addr().String()
}

func carry(near net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer near.Close()
	far, err := dial(context.Background())
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { io.Copy(near, far); near.Close() })
	io.Copy(far, near)
	far.Close()
	back.Wait()
}

package front

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/endpoint"
)

// pair is both ends of a connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// carried is a session with what is at its ends.
func carried(t *testing.T) (s *session, client, server *net.TCPConn) {
	t.Helper()
	client, near := pair(t)
	far, server := pair(t)
	return &session{client: near, server: far, over: make(chan struct{})}, client, server
}

// TestClientLeavesItsSideOpen: when the server has ended, a client that does not gets so much time and no more.
func TestClientLeavesItsSideOpen(t *testing.T) {
	t.Parallel()
	s, client, server := carried(t)
	server.Write([]byte("bye"))
	server.Close()
	begun := time.Now()
	if still := s.carry(200 * time.Millisecond); still || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("it ends after %v, still is %t", time.Since(begun), still)
	}
	if got, err := io.ReadAll(client); string(got) != "bye" {
		t.Errorf("the client reads %q, %v", got, err)
	}
}

// TestStandsStillInTheMiddle: what was read and not written is kept, and is the first that is written when it goes on.
func TestStandsStillInTheMiddle(t *testing.T) {
	t.Parallel()
	s, client, server := carried(t)
	sent := make([]byte, 16<<20)
	for i := range sent {
		sent[i] = byte(i * 7 >> 3)
	}
	go func() {
		client.Write(sent)
		client.CloseWrite()
	}()
	stopped := make(chan bool)
	read, full := 0, false
	for deadline := time.Now().Add(20 * time.Second); ; s.resume() {
		go func() { stopped <- s.carry(time.Minute) }()
		if read == 10 {
			break
		}
		time.Sleep(5 * time.Millisecond)
		s.interrupt()
		if still := <-stopped; !still {
			t.Fatal("it has ended")
		}
		if full = full || len(s.up.pending) > 0; !full { // nobody has read yet
			if time.Now().After(deadline) {
				t.Fatal("nobody reads, and nothing is pending")
			}
			continue
		}
		n, err := server.Read(make([]byte, 100_000)) // there is something: more than fits is on its way
		if err != nil {
			t.Fatal(err)
		}
		sent, read = sent[n:], read+1
	}
	got, err := io.ReadAll(server)
	if err != nil || string(got) != string(sent) {
		t.Errorf("the server reads %d bytes, %v; want the %d that are left", len(got), err, len(sent))
	}
	server.Close()
	if still := <-stopped; still {
		t.Error("it stands still")
	}
}

// TestBuffersAreGivenBack: a session that is silent has none.
func TestBuffersAreGivenBack(t *testing.T) {
	t.Parallel()
	s, client, server := carried(t)
	stopped := make(chan bool)
	go func() { stopped <- s.carry(time.Minute) }()
	for range 3 {
		client.Write([]byte("x"))
		io.ReadFull(server, make([]byte, 1))
	}
	s.interrupt()
	<-stopped
	if s.up.buffer != nil || s.down.buffer != nil {
		t.Error("it has a buffer")
	}
}

// TestLeavesNoGoroutine serves connections that end in every way, and looks for what is left of them.
func TestLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := target.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	f, at := quiet(t)
	serves := addrPort(target.Addr())
	for i := range 100 {
		if i%10 == 0 {
			f.tell(record{Targets: []netip.AddrPort{serves}, Held: i%20 == 0})
		}
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 5 {
		case 0:
			c.Close()
		case 1:
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		case 2:
			if err := f.cut(t.Context(), serves); err != nil {
				t.Fatal(err)
			}
		case 3:
			f.standStill()
			f.begin()
		}
		defer c.Close()
	}
	f.tell(record{Held: true})
	if err := f.cut(t.Context(), serves); err != nil {
		t.Fatal(err)
	}
	f.standStill()
	target.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks)
		}
	}
	for s := range f.sessions {
		if s.server != nil {
			t.Errorf("a session to %v is left", s.target)
		}
		f.forget(s, errGone)
	}
	if len(f.nodes) != 0 {
		t.Errorf("nodes are left: %v", f.nodes)
	}
}

// quiet is a front in this process, which nobody tells anything by its socket.
func quiet(t *testing.T) (f *Front, at string) {
	t.Helper()
	f = newFront(Config{
		Settings: endpoint.Settings{Connections: 1000, Patience: time.Minute}, Dir: t.TempDir(),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.listeners[addrPort(l.Addr())] = l
	f.begin()
	return f, l.Addr().String()
}

// TestRefusesRoot: whatever has started it.
func TestRefusesRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("Only root can try.")
	}
	err := Run(t.Context(), Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "as root") {
		t.Errorf("it runs, and ends with %v", err)
	}
}

// TestTooFewFiles: no more connections are taken than there can be files for.
func TestTooFewFiles(t *testing.T) {
	t.Parallel()
	f := newFront(Config{Settings: endpoint.Settings{Connections: 1 << 40}, Log: slog.New(slog.DiscardHandler)})
	f.limit()
	if f.most <= 0 || f.most >= 1<<40 {
		t.Errorf("%d connections are the most", f.most)
	}
	f.Connections, f.most = 1, 1
	f.limit()
	if f.most != 1 {
		t.Errorf("%d connections are the most; want 1", f.most)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	good := "--dir /d --listen 127.0.0.1:5,[::1]:6 --connections 7 --patience 8s --build b"
	c, err := parse(strings.Fields(good))
	if err != nil || c.Dir != "/d" || len(c.Listen) != 2 || c.Listen[1].Port() != 6 || c.Connections != 7 ||
		c.Patience != 8*time.Second || c.Build != "b" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", good + " more", good + " --port 5", good + " --listen 127.0.0.1",
		good + " --listen localhost:5", good + " --listen 127.0.0.1:0", good + " --connections 0",
		good + " --patience 5"} {
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestHandedTooMuch: what is on its way must fit.
func TestHandedTooMuch(t *testing.T) {
	t.Parallel()
	var d direction
	if err := d.take(handedDirection{Pending: make([]byte, bufferSize+1)}); err == nil {
		t.Error("it is taken")
	}
	err := d.take(handedDirection{Pending: make([]byte, bufferSize), Ended: true})
	if err != nil || len(d.pending) != bufferSize || !d.ended {
		t.Errorf("%d bytes, %v", len(d.pending), err)
	}
}

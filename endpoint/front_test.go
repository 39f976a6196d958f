package endpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
)

// TestForwardsUnderLoad sends much both ways at once over many connections, in pieces of all sizes.
func TestForwardsUnderLoad(t *testing.T) {
	t.Parallel()
	f, _ := serving(t, newTarget(t, "a"))
	const clients, size = 50, 1 << 20
	var all sync.WaitGroup
	for i := range clients {
		c := dial(t, f)
		all.Go(func() {
			if err := c.hear(20 * time.Second); err != nil {
				t.Error(err)
				return
			}
			random := rand.New(rand.NewPCG(1, uint64(i)))
			sent := make([]byte, size)
			for j := range sent {
				sent[j] = byte(random.Uint32())
			}
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(100_000))
					if _, err := c.Write(rest[:n]); err != nil {
						t.Error(err)
					}
					rest = rest[n:]
				}
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
			}()
			// The end arrives only when the client has closed its side: half a connection is closed alone.
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes come back, %v; want those %d that were sent", len(got), err, size)
			}
		})
	}
	all.Wait()
	await(t, f, "no session, and all bytes counted", func(s endpoint.Status) bool {
		return s.Sessions == 0 && s.ToTarget == clients*size && s.ToClient == clients*(size+2)
	})
}

// TestServerClosesFirst: what a server says last arrives, and what the client says after that still gets to it.
func TestServerClosesFirst(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	tg := newTargetThat(t, "a", func(c net.Conn) {
		io.WriteString(c, "bye")
		c.(interface{ CloseWrite() error }).CloseWrite()
		all, _ := io.ReadAll(c)
		heard <- string(all)
	})
	f, _ := serving(t, tg)
	c := dial(t, f)
	if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
		t.Fatalf("the client hears %q, %v", got, err)
	}
	io.WriteString(c, "thanks")
	c.CloseWrite()
	if got := <-heard; got != "thanks" {
		t.Errorf("the server hears %q", got)
	}
	await(t, f, "no session", func(s endpoint.Status) bool { return s.Sessions == 0 })
}

// TestSwitchover is the order in which a keeper replaces a primary: clients wait, and then reach the new one.
func TestSwitchover(t *testing.T) {
	t.Parallel()
	old, next := newTarget(t, "old"), newTarget(t, "next")
	f, _ := serving(t, old)
	front := f.Client()
	before := dial(t, f)
	checkServedBy(t, before, old)
	for range 2 {
		must(t, front.Hold(t.Context()))
	}
	var waiting []*client
	for range 20 {
		waiting = append(waiting, dial(t, f))
	}
	checkWaits(t, waiting[0])
	checkServedBy(t, before, old) // holding touches no session
	await(t, f, "20 that wait", func(s endpoint.Status) bool { return s.Held && s.Waiting == 20 && s.Sessions == 1 })
	for range 2 {
		must(t, front.Cut(t.Context(), old.at))
	}
	checkReset(t, before)
	for range 2 {
		must(t, front.Switch(t.Context(), next.at))
	}
	checkWaits(t, waiting[0])
	for range 2 {
		must(t, front.Release(t.Context()))
	}
	for _, c := range waiting {
		checkServedBy(t, c, next)
	}
	s := await(t, f, "one target", func(s endpoint.Status) bool { return s.Sessions == 20 && s.Waiting == 0 })
	if len(s.Targets) != 1 || s.Targets[0].Address != next.at || s.Targets[0].Sessions != 20 || s.Switched.IsZero() {
		t.Errorf("the status is %+v", s)
	}
}

// TestWithoutTarget: all wait, from the beginning on, and when targets are taken away.
func TestWithoutTarget(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, _ := serving(t)
	c := dial(t, f)
	checkWaits(t, c)
	must(t, f.Client().Switch(t.Context(), a.at))
	checkServedBy(t, c, a)
	must(t, f.Client().Switch(t.Context()))
	checkServedBy(t, c, a)
	checkWaits(t, dial(t, f))
	s := await(t, f, "one session", func(s endpoint.Status) bool { return s.Sessions == 1 && s.Waiting == 1 })
	if len(s.Targets) != 1 || s.Targets[0].Told || s.Targets[0].Sessions != 1 {
		t.Errorf("the status is %+v", s)
	}
}

// TestTargetRestarts: one that refuses is tried again until it serves, and its trouble is told meanwhile.
func TestTargetRestarts(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	a.end()
	f, _ := serving(t, a)
	c := dial(t, f)
	checkWaits(t, c)
	s := await(t, f, "trouble", func(s endpoint.Status) bool { return s.Targets[0].Trouble != "" && s.Waiting == 1 })
	if !strings.Contains(s.Targets[0].Trouble, "refused") {
		t.Errorf("the trouble is %q", s.Targets[0].Trouble)
	}
	a.listen(t)
	begun := time.Now()
	checkServedBy(t, c, a)
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it takes %v until a target that serves again is found", took)
	}
	await(t, f, "no trouble", func(s endpoint.Status) bool {
		return s.Targets[0].Trouble == "" && s.Targets[0].Sessions == 1
	})
}

// TestTargetNeverAnswers: a connection to a target whose kernel does not take it is called off by a switch.
func TestTargetNeverAnswers(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, _ := serving(t)
	must(t, f.Client().Switch(t.Context(), deaf(t)))
	c := dial(t, f)
	checkWaits(t, c)
	must(t, f.Client().Switch(t.Context(), a.at))
	begun := time.Now()
	checkServedBy(t, c, a)
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it is served after %v: the connection to the other was not called off", took)
	}
}

// deaf is where a connection is neither taken nor refused: the queue of who listens there is full.
func deaf(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	must(t, err)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 8 {
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { syscall.Close(c) })
		_ = syscall.Connect(c, name) // in progress
	}
	return at
}

// TestSilentTargetIsCut: sessions to a target that takes connections and says nothing end at once when it is cut, also
// those whose clients have sent more than anybody takes.
func TestSilentTargetIsCut(t *testing.T) {
	t.Parallel()
	silent := newTargetThat(t, "silent", func(c net.Conn) { select {} })
	f, _ := serving(t, silent)
	ended := make(chan error)
	for range 10 {
		c := dial(t, f)
		go func() {
			_, err := io.Copy(c, endless{})
			ended <- err
		}()
	}
	await(t, f, "10 sessions", func(s endpoint.Status) bool { return s.Sessions == 10 && s.ToTarget > 1<<20 })
	begun := time.Now()
	must(t, f.Client().Cut(t.Context(), silent.at))
	if took := time.Since(begun); took > time.Second {
		t.Errorf("a cut takes %v", took)
	}
	await(t, f, "no session", func(s endpoint.Status) bool { return s.Sessions == 0 })
	for range 10 {
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a client that writes gets %v; want a reset", err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestReplicas: the target with the fewest sessions gets the next one; one that was taken out keeps its sessions and
// gets none; one that refuses does not make clients wait as long as there is another.
func TestReplicas(t *testing.T) {
	t.Parallel()
	a, b, c := newTarget(t, "a"), newTarget(t, "b"), newTarget(t, "c")
	f, _ := serving(t, a, b, c)
	got := map[string]int{}
	var clients []*client
	serve := func(n int) {
		t.Helper()
		for range n {
			client := dial(t, f)
			must(t, client.ask("x"))
			got[client.by]++
			clients = append(clients, client)
		}
	}
	serve(9)
	if got["a"] != 3 || got["b"] != 3 || got["c"] != 3 {
		t.Errorf("sessions by target: %v; want 3 each", got)
	}
	must(t, f.Client().Switch(t.Context(), a.at, c.at))
	serve(4)
	if got["a"] != 5 || got["b"] != 3 || got["c"] != 5 {
		t.Errorf("sessions by target, b being out: %v; want 5, 3, 5", got)
	}
	must(t, f.Client().Switch(t.Context(), a.at, b.at, c.at))
	serve(2)
	if got["b"] != 5 {
		t.Errorf("sessions by target, b being back: %v; want 5 each", got)
	}
	b.end()
	for _, client := range clients {
		if client.by == "b" {
			client.Close()
		}
	}
	await(t, f, "no session to b", func(s endpoint.Status) bool { return s.Targets[1].Sessions == 0 })
	begun := time.Now()
	serve(6)
	if took := time.Since(begun); took > 2*time.Second || got["b"] != 5 {
		t.Errorf("sessions by target, b having ended: %v after %v", got, took)
	}
}

// TestBounds: connections that are too many are refused, those that have waited for too long are ended, and a client
// that leaves while it waits is not waited for.
func TestBounds(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Connections, f.Patience = 3, 2*time.Second
	ensure(t, f)
	var waiting []*client
	for range 3 {
		waiting = append(waiting, dial(t, f))
	}
	await(t, f, "3 that wait", func(s endpoint.Status) bool { return s.Waiting == 3 })
	if c, err := connect(f); err == nil { // it may be reset before it knows that it was connected
		checkReset(t, c)
		c.Close()
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many gets %v", err)
	}
	io.WriteString(waiting[0], "what it says first is no hindrance")
	waiting[0].Close()
	await(t, f, "2 that wait, 1 refused", func(s endpoint.Status) bool { return s.Waiting == 2 && s.Refused == 1 })
	await(t, f, "2 that have given up", func(s endpoint.Status) bool { return s.Waiting == 0 && s.GivenUp == 2 })
	checkReset(t, waiting[1])
}

// TestSlowClients: who does not read what it has asked for takes no memory beyond its bound, and keeps nobody up.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	fast := newTargetThat(t, "fast", func(c net.Conn) { io.Copy(c, endless{}) })
	f, p := serving(t, fast)
	const slow = 100
	for range slow {
		dial(t, f)
	}
	last := int64(-1)
	await(t, f, "all to be stuck", func(s endpoint.Status) bool {
		stuck := s.Sessions == slow && s.ToClient == last
		last = s.ToClient
		time.Sleep(50 * time.Millisecond)
		return stuck
	})
	if own := memory(t, p, "RssAnon"); own > (8+slow*40/1000+8)*memoryFactor {
		t.Errorf("the front has %d MB of its own, for %d buffers", own, slow)
	}
	must(t, f.Client().Switch(t.Context(), a.at))
	checkServedBy(t, dial(t, f), a)
}

// memory is a line of the process's status, in MB.
func memory(t testing.TB, p *process.Process, line string) (mb int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), line+":")
	kb := 0
	_, err = fmt.Sscanf(rest, "%d kB", &kb)
	must(t, err)
	return kb >> 10
}

// TestThousands opens thousands of connections, of which all are served, and ends them.
func TestThousands(t *testing.T) {
	t.Parallel()
	const many = 2500
	f, p := serving(t, newTarget(t, "a"))
	clients := make([]*client, many)
	var all sync.WaitGroup
	for part := range 50 {
		all.Go(func() {
			for i := part; i < many; i += 50 {
				c, err := connect(f)
				if err == nil {
					clients[i] = c
					err = c.ask("once")
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	await(t, f, "all served", func(s endpoint.Status) bool { return s.Sessions == many })
	t.Logf("%d MB for %d sessions", memory(t, p, "RssAnon"), many)
	for _, c := range clients {
		if c != nil {
			c.Close()
		}
	}
	await(t, f, "all ended", func(s endpoint.Status) bool { return s.Sessions == 0 && len(s.Targets) == 1 })
}

// TestSessions: whom a server takes for its client can be found out.
func TestSessions(t *testing.T) {
	t.Parallel()
	from := make(chan string, 1)
	tg := newTargetThat(t, "a", func(c net.Conn) { from <- c.RemoteAddr().String(); io.Copy(c, c) })
	f, _ := serving(t, tg)
	c := dial(t, f)
	io.WriteString(c, "x")
	io.ReadFull(c, make([]byte, 1))
	list, err := f.Client().Sessions(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("the sessions are %v, %v", list, err)
	}
	s := list[0]
	if s.Client.String() != c.LocalAddr().String() || s.From.String() != <-from || s.Target != tg.at ||
		s.ToTarget != 1 || s.ToClient != 1 {
		t.Errorf("the session is %+v; want it from %s", s, c.LocalAddr())
	}
}

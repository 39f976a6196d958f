package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel"
)

const patience = 30 * time.Second

// house is who may do what in a test, and a server of tunnels that asks it.
type house struct {
	*httptest.Server
	tunnels *tunnel.Server

	mu        sync.Mutex
	users     map[string]backstay.Actor
	endpoints map[backstay.BindingID]backstay.Endpoint
	lent      map[backstay.BindingID]time.Time
	events    []string
}

const binding backstay.BindingID = "b1"

func newHouse(t testing.TB) *house { return newHouseWith(t, (*httptest.Server).Start) }

func newHouseWith(t testing.TB, begin func(*httptest.Server)) *house {
	t.Helper()
	h := &house{
		users: map[string]backstay.Actor{
			"bearer one": {UserID: "u1", Username: "one"}, "bearer two": {UserID: "u2", Username: "two"},
		},
		endpoints: map[backstay.BindingID]backstay.Endpoint{},
		lent:      map[backstay.BindingID]time.Time{},
	}
	h.tunnels = &tunnel.Server{Authenticator: h, Gate: h, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	mux := http.NewServeMux()
	mux.Handle("GET "+tunnel.Path, h.tunnels)
	h.Server = httptest.NewUnstartedServer(mux)
	h.Config.ReadTimeout, h.Config.WriteTimeout = time.Second, time.Second // which a tunnel outlives
	begin(h.Server)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { h.tunnels.Run(ctx); close(stopped) }()
	t.Cleanup(func() { cancel(); <-stopped; h.Close() })
	return h
}

func (h *house) Authenticate(_ context.Context, header string) (backstay.Actor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if by, ok := h.users[header]; ok {
		return by, nil
	}
	return backstay.Actor{}, backstay.Errorf(backstay.Anonymous, "Invalid Auth Token")
}

func (h *house) Endpoint(_ context.Context, by backstay.Actor, id backstay.BindingID) (backstay.Endpoint, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.endpoints[id]; ok && by.UserID == "u1" {
		return e, nil
	}
	return backstay.Endpoint{}, backstay.Errorf(backstay.NotFound, "Service credential binding not found")
}

func (h *house) Lend(
	_ context.Context, by backstay.Actor, l backstay.Loan,
) (backstay.BindingID, backstay.Credentials, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if by.UserID != "u1" {
		return "", nil, backstay.Errorf(backstay.Forbidden, "You are not authorized to perform the requested action")
	}
	id := backstay.BindingID(l.Name)
	h.lent[id], h.endpoints[id] = l.Until, h.endpoints[binding]
	return id, backstay.Credentials{"password": "secret"}, nil
}

func (h *house) Began(
	_ context.Context, by backstay.Actor, id backstay.BindingID,
) (func(context.Context) error, error) {
	h.record("begin " + by.Username + " " + string(id))
	return func(context.Context) error { h.record("end " + by.Username + " " + string(id)); return nil }, nil
}

func (h *house) record(event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event)
}

func (h *house) recorded() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

func (h *house) Hold(_ context.Context, ids []backstay.BindingID, until time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if _, ok := h.lent[id]; ok {
			h.lent[id] = until
		}
	}
	return nil
}

func (h *house) Return(_ context.Context, _ backstay.Actor, id backstay.BindingID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lent, id)
	delete(h.endpoints, id)
	return nil
}

// serve makes the binding's instance a server that handles each connection with f.
func (h *house) serve(t testing.TB, f func(*net.TCPConn)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c.(*net.TCPConn))
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endpoints[binding] = backstay.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

func echo(c *net.TCPConn) {
	defer c.Close()
	io.Copy(c, c)
}

func (h *house) client(t testing.TB, token string) *tunnel.Client {
	t.Helper()
	c := &tunnel.Client{URL: h.URL, HTTP: h.Client(), Token: func() (string, error) { return token, nil }}
	t.Cleanup(c.Close)
	return c
}

func mustDial(t testing.TB, c *tunnel.Client) tunnel.Stream {
	t.Helper()
	s, err := c.Dial(t.Context(), binding)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestEchoWithHalfClose(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, func(c *net.TCPConn) { // answers when it has heard all
		defer c.Close()
		said, _ := io.ReadAll(c)
		c.Write(bytes.ToUpper(said))
	})
	s := mustDial(t, h.client(t, "bearer one"))
	time.Sleep(1500 * time.Millisecond) // longer than the http.Server's timeouts
	if _, err := s.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(s); err != nil || string(said) != "HELLO" {
		t.Errorf("said %q, %v", said, err)
	}
}

func TestBrokenIsNeverEndOfFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, func(c *net.TCPConn) {
		c.Write([]byte("half of"))
		io.ReadFull(c, make([]byte, 1)) // until the client has read that
		c.SetLinger(0)
		c.Close()
	})
	s := mustDial(t, h.client(t, "bearer one"))
	if _, err := io.ReadFull(s, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("x"))
	_, err := io.ReadAll(s)
	if err == nil || !strings.Contains(tunnel.Broken(err).Error(), "broke the connection off") {
		t.Errorf("reading a broken stream: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	for _, tc := range []struct {
		token string
		kind  backstay.Kind
	}{{"bearer none", backstay.Anonymous}, {"bearer two", backstay.NotFound}} {
		if _, err := h.client(t, tc.token).Dial(t.Context(), binding); backstay.KindOf(err) != tc.kind {
			t.Errorf("%s: %v, want %v", tc.token, err, tc.kind)
		}
	}
	if _, err := h.client(t, "bearer one").Dial(t.Context(), "other"); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("another binding: %v", err)
	}
	if _, _, err := h.client(t, "bearer two").
		Lend(t.Context(), backstay.Loan{Name: "k"}); backstay.KindOf(
		err,
	) != backstay.Forbidden {
		t.Errorf("lend: %v", err)
	}
}

func TestOtherVersionsSayWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r, err := http.NewRequestWithContext(t.Context(), "GET", h.URL+tunnel.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"bearer one"}, "Sec-Websocket-Protocol": {"tunnel.backstay.99"}}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("cf install-plugin conduit")) {
		t.Errorf("%s: %s", answer.Status, body)
	}
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	c := &tunnel.Client{URL: elsewhere.URL, HTTP: http.DefaultClient, Token: func() (string, error) { return "", nil }}
	if err := c.Connect(t.Context()); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("no Backstay: %v", err)
	}
}

func TestTwoHundredStreamsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	c := h.client(t, "bearer one")
	const size = 200 << 10
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			s, err := c.Dial(t.Context(), binding)
			if err != nil {
				t.Error(err)
				return
			}
			sent := bytes.Repeat([]byte{byte(i)}, size)
			go func() { s.Write(sent); s.CloseWrite() }()
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
}

// A stream whose reader sleeps, and one whose instance does not read, hold nobody up.
func TestStalledStreamsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	release := make(chan struct{})
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	h.serve(t, func(c *net.TCPConn) {
		defer c.Close()
		first := make([]byte, 1)
		io.ReadFull(c, first)
		switch first[0] {
		case 'r': // for a client that does not read
			for block := make([]byte, 1<<20); ; {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		case 'w': // does not read what the client writes
			<-release
		default:
			io.Copy(c, c)
		}
	})
	c := h.client(t, "bearer one")
	for range 20 {
		mustDial(t, c).Write([]byte("r"))
		stalled := mustDial(t, c)
		stalled.Write([]byte("w"))
		go io.Copy(stalled, endless{})
	}
	time.Sleep(300 * time.Millisecond) // windows fill meanwhile
	s := mustDial(t, c)
	s.SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte("x"), 8<<20)
	go func() { s.Write([]byte("e")); s.Write(sent); s.CloseWrite() }()
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestEndsWithTheRight(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		take func(*house)
		say  string
	}{
		{"binding", func(h *house) { delete(h.endpoints, binding) }, "binding is gone"},
		{"role", func(h *house) { h.users["bearer one"] = h.users["bearer two"] }, "your right to use it"},
		{"login", func(h *house) { delete(h.users, "bearer one") }, "your login has ended"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.serve(t, echo)
			s := mustDial(t, h.client(t, "bearer one"))
			h.mu.Lock()
			tc.take(h)
			h.mu.Unlock()
			begun := time.Now()
			_, err := s.Read(make([]byte, 1))
			if err == nil || !strings.Contains(tunnel.Broken(err).Error(), tc.say) {
				t.Errorf("reading: %v", err)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestGoesOnWithAnotherToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	token := "bearer one"
	var mu sync.Mutex
	c := &tunnel.Client{URL: h.URL, HTTP: http.DefaultClient, Token: func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return token, nil
	}}
	t.Cleanup(c.Close)
	s := mustDial(t, c)
	h.mu.Lock()
	h.users["bearer next"] = h.users["bearer one"]
	h.mu.Unlock()
	mu.Lock()
	token = "bearer next"
	mu.Unlock()
	if err := c.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	delete(h.users, "bearer one")
	h.mu.Unlock()
	time.Sleep(2500 * time.Millisecond) // more than two checks
	s.Write([]byte("still there"))
	if _, err := io.ReadFull(s, make([]byte, 11)); err != nil {
		t.Error(err)
	}
	mu.Lock()
	token = "bearer two"
	mu.Unlock()
	if err := c.Renew(t.Context()); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("another user's token: %v", err)
	}
}

func TestLentIsHeldKeptAndReturned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.tunnels.Lease = 400 * time.Millisecond
	h.serve(t, echo)
	c := h.client(t, "bearer one")
	id, credentials, err := c.Lend(t.Context(), backstay.Loan{Name: "lent"})
	if err != nil || credentials["password"] != "secret" {
		t.Fatal(credentials, err)
	}
	until := func() time.Time {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.lent[id]
	}
	first := until()
	await(t, "it is held", func() bool { return until().After(first.Add(h.tunnels.Lease)) })
	h.CloseClientConnections() // which hijacked ones survive
	c.Break()
	if _, err := c.Dial(t.Context(), id); err != nil { // over another connection
		t.Fatal(err)
	}
	second := until()
	await(t, "it is held again", func() bool { return until().After(second.Add(h.tunnels.Lease)) })
	if err := c.Return(t.Context()); err != nil || !until().IsZero() {
		t.Errorf("return: %v, until %v", err, until())
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	c := h.client(t, "bearer one")
	for range tunnel.MaxStreams {
		mustDial(t, c)
	}
	if _, err := c.Dial(t.Context(), binding); backstay.KindOf(err) != backstay.Busy {
		t.Errorf("one stream more: %v", err)
	}
	for range tunnel.MaxTunnels - 1 {
		if err := h.client(t, "bearer one").Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.client(t, "bearer one").Connect(t.Context()); backstay.KindOf(err) != backstay.Busy {
		t.Errorf("one tunnel more: %v", err)
	}
	if err := h.client(t, "bearer two").Connect(t.Context()); err != nil {
		t.Errorf("another user's tunnel: %v", err)
	}
	c.Close()
	await(t, "there is room again", func() bool { return h.client(t, "bearer one").Connect(t.Context()) == nil })
}

func TestUseIsRecordedOnceWithItsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	c := h.client(t, "bearer one")
	for range 3 {
		mustDial(t, c)
	}
	c.Dial(t.Context(), "other") // which is refused
	if got := h.recorded(); !slices.Equal(got, []string{"begin one b1"}) {
		t.Errorf("recorded: %q", got)
	}
	c.Close()
	await(t, "the end is recorded",
		func() bool { return slices.Equal(h.recorded(), []string{"begin one b1", "end one b1"}) })
}

// TestTheLogTellsWhatEndedWell leaves one tunnel as conduit does, and loses another as a network does.
func TestTheLogTellsWhatEndedWell(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	log := &said{}
	h.tunnels.Log = slog.New(slog.NewTextHandler(log, nil))
	c := h.client(t, "bearer one")
	mustDial(t, c)
	c.Close()
	await(t, "the end is logged", func() bool { return strings.Contains(log.String(), `msg="a tunnel ended" user=`) })
	if strings.Contains(log.String(), "reason") {
		t.Errorf("logged\n%s", log)
	}
	lost := h.client(t, "bearer one")
	mustDial(t, lost)
	lost.Break()
	await(t, "the loss is logged", func() bool { return strings.Contains(log.String(), `msg="a tunnel broke"`) })
}

// said keeps what many goroutines write.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestServerThatStopsSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	reasons := make(chan error, 1)
	c := h.client(t, "bearer one")
	c.Lost = func(err error) { reasons <- err }
	s := mustDial(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.tunnels.Run(ctx)
	if _, err := io.ReadAll(s); err == nil {
		t.Error("the stream ended as if all were there")
	}
	select {
	case err := <-reasons:
		if !strings.Contains(err.Error(), "stopping") {
			t.Errorf("reason: %v", err)
		}
	case <-time.After(patience):
		t.Error("no reason is told")
	}
}

func TestRelayTellsWhichEndFailed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	local, program := tcpPair(t)
	c := h.client(t, "bearer one")
	s := mustDial(t, c)
	type result struct{ local, remote error }
	done := make(chan result, 1)
	go func() {
		l, r := tunnel.Relay(tunnel.TCP(local), s)
		done <- result{l, r}
	}()
	program.Write([]byte("x"))
	io.ReadFull(program, make([]byte, 1))
	c.Close()
	if _, err := program.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the program saw %v, not a broken connection", err)
	}
	if r := <-done; r.remote == nil || r.local != nil {
		t.Errorf("relay: local %v, remote %v", r.local, r.remote)
	}
}

func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return (<-accepted).(*net.TCPConn), c.(*net.TCPConn)
}

func BenchmarkThroughput(b *testing.B) {
	const block = 1 << 20
	h := newHouseWith(b, (*httptest.Server).StartTLS)
	h.serve(b, func(c *net.TCPConn) {
		defer c.Close()
		for zeros := make([]byte, 8<<10); ; { // as PostgreSQL does
			if _, err := c.Write(zeros); err != nil {
				return
			}
		}
	})
	s := mustDial(b, h.client(b, "bearer one"))
	b.SetBytes(block)
	into := make([]byte, block)
	for b.Loop() {
		if _, err := io.ReadFull(s, into); err != nil {
			b.Fatal(err)
		}
	}
	s.Abort(backstay.Internal)
}

func BenchmarkUpload(b *testing.B) {
	const block = 1 << 20
	h := newHouseWith(b, (*httptest.Server).StartTLS)
	h.serve(b, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	s := mustDial(b, h.client(b, "bearer one"))
	b.SetBytes(block)
	from := make([]byte, block)
	for b.Loop() {
		if _, err := s.Write(from); err != nil {
			b.Fatal(err)
		}
	}
	s.Abort(backstay.Internal)
}

func BenchmarkRoundTrip(b *testing.B) {
	h := newHouse(b)
	h.serve(b, echo)
	s := mustDial(b, h.client(b, "bearer one"))
	one := make([]byte, 100)
	for b.Loop() {
		s.Write(one)
		if _, err := io.ReadFull(s, one); err != nil {
			b.Fatal(err)
		}
	}
}

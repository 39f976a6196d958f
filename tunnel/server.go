package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/sender"
	"github.com/backstay/backstay/tunnel/mux"
)

// Path is where the API has its tunnels.
const Path = "/tunnel"

// Authenticator knows who sends a request by its Authorization header, which may be empty. Its errors
// are Anonymous when the header proves nothing.
type Authenticator interface {
	Authenticate(ctx context.Context, authorization string) (backstay.Actor, error)
}

// Gate decides who may reach what. Its refusals have a Kind and a sentence; anything Internal or
// Unavailable says nothing about a right, and ends no stream.
type Gate interface {
	// Endpoint is where the instance of a binding serves, for whoever may bind it.
	Endpoint(ctx context.Context, by backstay.Actor, id backstay.BindingID) (backstay.Endpoint, error)
	// Began records that by began to use a tunnel to it, and returns what records that it ended.
	Began(ctx context.Context, by backstay.Actor, id backstay.BindingID) (ended func(context.Context) error, err error)
	// Lend makes a service key that ends by itself, unless it is held.
	Lend(ctx context.Context, by backstay.Actor, l backstay.Loan) (backstay.BindingID, backstay.Credentials, error)
	// Hold lets keys that were lent last until then. One that is gone already stays so.
	Hold(ctx context.Context, ids []backstay.BindingID, until time.Time) error
	// Return ends a key that was lent.
	Return(ctx context.Context, by backstay.Actor, id backstay.BindingID) error
}

// Server carries the tunnels of the API. Its fields are set once, before it is used.
type Server struct {
	Authenticator Authenticator
	Gate          Gate
	Lease         time.Duration // how long what was lent outlives a tunnel that was lost; DefaultLease if 0
	Log           *slog.Logger
	Now           func() time.Time // time.Now if nil

	mu       sync.Mutex
	users    map[backstay.UserID]*usage
	sessions map[*session]struct{}
	stopped  bool
	carrying sync.WaitGroup // one for each session

	growth mux.Growth // of all windows
}

// DefaultLease lets a laptop change networks.
const DefaultLease = time.Minute

func (s *Server) lease() time.Duration {
	if s.Lease == 0 {
		return DefaultLease
	}
	return s.Lease
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// leaseEnd is when what is lent or held now ends, unless it is held again.
func (s *Server) leaseEnd() time.Time { return s.now().Add(s.lease()) }

// What one user may have at once, over all tunnels. A stream may hold up to its window in memory, while
// an instance does not read what a developer sends.
const (
	MaxTunnels = 50
	MaxStreams = 300
)

// usage is what a user has open.
type usage struct{ tunnels, streams int }

// ServeHTTP lasts as long as the tunnel does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Get("Authorization")
	by, err := s.Authenticator.Authenticate(r.Context(), header)
	by.Address = sender.Address(r)
	if err == nil {
		err = checkProtocol(r.Header.Values("Sec-WebSocket-Protocol"))
	}
	if err == nil {
		err = s.enter(by.UserID)
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	defer s.leave(by.UserID)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		s.Log.Debug("a tunnel did not begin", "user", by.Username, "error", err)
		return // and has been answered
	}
	defer conn.CloseNow()
	s.carry(context.WithoutCancel(r.Context()), conn, by, header)
}

func (s *Server) carry(ctx context.Context, conn *websocket.Conn, by backstay.Actor, header string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &session{
		server: s, mux: mux.Accepter(newCarrier(conn), muxConfig(&s.growth)), address: by.Address, by: by, header: header,
		streams: map[*mux.Stream]backstay.BindingID{}, begun: map[backstay.BindingID]func(context.Context) error{},
	}
	if !s.add(t) {
		return
	}
	defer s.remove(t)
	s.Log.Info("a tunnel began", "user", by.Username)
	s.logEnd(by, t.run(ctx))
}

// logEnd tells a tunnel that its user ended from one that broke.
func (s *Server) logEnd(by backstay.Actor, reason error) {
	if left := new(mux.LeftError); errors.As(reason, &left) && left.Code == content {
		s.Log.Info("a tunnel ended", "user", by.Username)
		return
	}
	s.Log.Info("a tunnel broke", "user", by.Username, "reason", reason)
}

// stopPatience is how long a client may take to hear that we are stopping.
const stopPatience = 2 * time.Second

// Run ends all tunnels when ctx ends, and waits for them: the http.Server that began them knows them
// no more.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.stopped = true
	for t := range s.sessions {
		go t.mux.Leave(uint32(backstay.Unavailable))
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.carrying.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(stopPatience):
	}
	return ctx.Err()
}

func (s *Server) add(t *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	if s.sessions == nil {
		s.sessions = map[*session]struct{}{}
	}
	s.sessions[t] = struct{}{}
	s.carrying.Add(1)
	return true
}

func (s *Server) remove(t *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, t)
	s.carrying.Done()
}

// enter counts a tunnel of a user, if there may be one more.
func (s *Server) enter(id backstay.UserID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[id]
	if u == nil {
		u = &usage{}
	}
	if u.tunnels == MaxTunnels {
		return backstay.Errorf(backstay.Busy,
			"You have %d tunnels open, which is as many as a user may have. End one and try again.", MaxTunnels)
	}
	if s.users == nil {
		s.users = map[backstay.UserID]*usage{}
	}
	u.tunnels++
	s.users[id] = u
	return nil
}

func (s *Server) leave(id backstay.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[id].tunnels--
	s.forgetIdle(id)
}

// forgetIdle forgets a user who has nothing open; the caller holds mu.
func (s *Server) forgetIdle(id backstay.UserID) {
	if *s.users[id] == (usage{}) {
		delete(s.users, id)
	}
}

// open counts a stream of a user who has a tunnel, if there may be one more.
func (s *Server) open(id backstay.UserID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[id].streams == MaxStreams {
		return backstay.Errorf(backstay.Busy,
			"You have %d connections open through tunnels, which is as many as a user may have. End some and try "+
				"again.", MaxStreams)
	}
	s.users[id].streams++
	return nil
}

func (s *Server) shut(id backstay.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[id].streams--
	s.forgetIdle(id)
}

// statuses say each Kind in HTTP, before there is a tunnel.
var statuses = map[backstay.Kind]int{
	backstay.Internal:    http.StatusInternalServerError,
	backstay.Invalid:     http.StatusBadRequest,
	backstay.Anonymous:   http.StatusUnauthorized,
	backstay.Forbidden:   http.StatusForbidden,
	backstay.NotFound:    http.StatusNotFound,
	backstay.Taken:       http.StatusConflict,
	backstay.Busy:        http.StatusTooManyRequests,
	backstay.InUse:       http.StatusConflict,
	backstay.Unsupported: http.StatusBadRequest,
	backstay.Unavailable: http.StatusServiceUnavailable,
}

// fail answers a request that becomes no tunnel, in the shape of the API's own errors.
func (s *Server) fail(w http.ResponseWriter, err error) {
	kind := backstay.KindOf(err)
	if kind == backstay.Internal && !errors.Is(err, context.Canceled) {
		s.Log.Error("a tunnel did not begin", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statuses[kind])
	json.NewEncoder(
		w,
	).Encode(httpErrors{[]httpError{{Title: "Backstay-" + kind.String(), Detail: backstay.SentenceOf(err)}}})
}

type httpErrors struct {
	Errors []httpError `json:"errors"`
}

type httpError struct {
	Code   int    `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

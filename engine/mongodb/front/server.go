package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine/door"
	"github.com/backstay/backstay/engine/pgserver"
)

// spare is how many more connections of strangers there may be than of users: drivers keep one for each pool of theirs
// that only looks whether the server is there, and others are about to log in.
const spare = 128

// Server leads clients to FerretDB.
type Server struct {
	path   string // of the configuration
	config Config // as it was at the start
	later  watched
	rights rights

	answered atomic.Bool // both FerretDBs have, since the last beat

	mu        sync.Mutex
	endRound  context.CancelCauseFunc // of a round, in which the node is served as what it is
	listeners []net.Listener
	open      bool // clients are let in, and we are told of users that are dropped
	follows   bool // PostgreSQL follows another one: nobody writes
	sessions  map[*session]bool
	users     map[string]map[*session]bool // who name one, whether they have logged in or not
	loggedIn  int                          // of sessions
	strangers door.Strangers
	all       sync.WaitGroup
}

func newServer(path string, c Config) *Server {
	return &Server{path: path, config: c, later: watched{path: path, config: c}, rights: rights{runDir: c.RunDir},
		sessions: map[*session]bool{}, users: map[string]map[*session]bool{}}
}

// accept serves those who connect, until the listener is closed.
func (s *Server) accept(ctx context.Context, l net.Listener) error {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(s.path) },
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if slices.Contains(hello.SupportedProtos, followersProtocol) {
				return followersConfig(s.path)
			}
			return nil, nil // as all
		},
		// What clients keep to come back with would outlive the certificate.
		SessionTicketsDisabled: true,
	}
	for {
		conn, err := door.Accept(ctx, l)
		if err != nil {
			return err
		}
		c := &session{server: s, client: tls.Server(conn, config), dues: newDues()}
		if !s.enter(c, conn) {
			conn.Close()
			continue
		}
		s.all.Go(func() {
			defer s.leave(c)
			c.serve(ctx)
		})
	}
}

// enter notes a connection, unless nobody is let in.
func (s *Server) enter(c *session, conn net.Conn) bool {
	most := s.later.now().Connections + spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return false
	}
	s.sessions[c] = true
	c.place = s.strangers.Enter(conn, most)
	return true
}

func (s *Server) leave(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	c.place.Leave()
}

// name notes who the session says that it is of, unless there is no place for another user.
func (s *Server) name(c *session) error {
	most := s.later.now().Connections
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loggedIn >= most {
		return noPlace(most)
	}
	if s.users[c.user] == nil {
		s.users[c.user] = map[*session]bool{}
	}
	s.users[c.user][c] = true
	return nil
}

// admit gives a session the place of a user, unless users hold as many as the plan says.
func (s *Server) admit(c *session) *refusal {
	most := s.later.now().Connections
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loggedIn >= most {
		return noPlace(most)
	}
	s.loggedIn++
	c.loggedIn = true
	c.place.Leave()
	return nil
}

func noPlace(most int) *refusal {
	return &refusal{code: 91, name: "ShutdownInProgress",
		sentence: fmt.Sprintf("All %d connections of the service instance are in use.", most)}
}

// forget is the end of a session.
func (s *Server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.loggedIn {
		s.loggedIn--
	}
	delete(s.users[c.user], c)
	if len(s.users[c.user]) == 0 {
		delete(s.users, c.user)
	}
}

// end ends the connections of a user.
func (s *Server) end(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.users[user] {
		c.client.NetConn().Close()
	}
}

// endAll ends all connections.
func (s *Server) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
}

// cut is endAll for who holds mu.
func (s *Server) cut() {
	for c := range s.sessions {
		c.client.NetConn().Close()
	}
}

// begin notes how the round is ended.
func (s *Server) begin(end context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endRound = end
}

var errToldSo = errors.New("it was told to look what the node is")

// beginAnew ends the round of a node that is not served as one that leads, which it stays. From then on nobody comes in
// for whom it follows.
func (s *Server) beginAnew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endRound != nil && (s.follows || !s.open) {
		s.endRound(errToldSo)
		s.close()
	}
}

// listens notes where clients wait to be let in.
func (s *Server) listens(at []net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = at
}

// letIn serves those who come, unless the round has ended. Sessions last as long as ctx.
func (s *Server) letIn(ctx, round context.Context, follows bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := round.Err(); err != nil {
		return err
	}
	s.open, s.follows = true, follows
	end := s.endRound
	for _, l := range s.listeners {
		s.all.Go(func() {
			if err := s.accept(ctx, l); !errors.Is(err, net.ErrClosed) {
				end(fmt.Errorf("accept: %w", err))
			}
		})
	}
	return nil
}

// shut ends all connections, and lets nobody in.
func (s *Server) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}

// close is shut for who holds mu.
func (s *Server) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.open, s.follows, s.listeners = false, false, nil
	s.cut()
}

// onlyReads tells whether nobody writes here.
func (s *Server) onlyReads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.follows
}

// watch carries orders out, and beats, until the connection to PostgreSQL or ctx ends.
func (s *Server) watch(ctx context.Context, conn *pgx.Conn) error {
	s.all.Go(func() { s.askGateways(ctx) })
	for {
		limited, cancel := context.WithTimeout(ctx, beatEvery)
		said, err := conn.WaitForNotification(limited)
		isTime := limited.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			order := parseOrder(said.Payload)
			s.end(order.User)
			_, err = conn.Exec(ctx, "SELECT pg_notify('"+Done+"', $1)", order.String())
		case isTime && s.answered.Swap(false):
			_, err = conn.Exec(ctx, "SET application_name = '"+Leads+"'")
		case isTime:
			err = nil
		}
		if err != nil {
			return err
		}
	}
}

// lookAgain is how often it is looked whether the node still follows. Whoever promotes it tells us.
const lookAgain = time.Second

var errPromoted = errors.New("the node does not follow any more")

// watchFollowing returns when the node follows no more, or the connection to PostgreSQL or ctx ends.
func (s *Server) watchFollowing(ctx context.Context, conn *pgx.Conn) error {
	for {
		limited, cancel := context.WithTimeout(ctx, lookAgain)
		_, err := conn.WaitForNotification(limited) // there is none: it ends with the connection, or in time
		cancel()
		if ctx.Err() != nil || limited.Err() == nil {
			return err
		}
		if follows, err := pgserver.IsFollowing(ctx, conn); err != nil || !follows {
			return cmp.Or(err, errPromoted)
		}
	}
}

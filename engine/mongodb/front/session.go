package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/backstay/backstay/engine/door"
)

const (
	// handshakeLimit is how long a client may take to agree upon TLS, then to say the first thing, and to go on with a
	// login that it has begun: all drivers do at once.
	handshakeLimit = 10 * time.Second
	// namelessLimit is how long a client may say nothing that has not logged in. Those of drivers that only look
	// whether the server is there ask every ten seconds.
	namelessLimit = 2 * time.Minute
	// loginLimit is how long it may take to look a user up, and to reach FerretDB.
	loginLimit = 10 * time.Second
	// answerLimit is how long FerretDB may take to answer who has not logged in: longer than drivers wait for that.
	answerLimit = time.Minute
)

// session is a client's connection.
type session struct {
	server   *Server
	client   *tls.Conn
	from     *bufio.Reader
	place    *door.Stranger // as long as nobody has logged in
	gateway  net.Conn       // to FerretDB
	heard    bool           // it has said something
	user     string         // whom it names; empty: nobody
	unknown  bool           // there is no such user
	loggedIn bool           // the user has
	dues     *dues
	back     chan struct{} // closed when answers have ended, which it does not wait for any more; nil: it waits for each
}

// serve passes on what the client says, until one side ends.
func (s *session) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { s.client.NetConn().Close() })
	defer stop()
	defer s.client.NetConn().Close()
	s.client.SetDeadline(time.Now().Add(handshakeLimit))
	if s.client.HandshakeContext(ctx) != nil {
		return
	}
	if s.client.ConnectionState().NegotiatedProtocol == followersProtocol {
		if stop() {
			s.server.leave(s) // it is no client, and goes when PostgreSQL does
			s.letFollow(ctx)
		}
		return
	}
	s.client.SetDeadline(time.Time{})
	s.from = bufio.NewReaderSize(s.client, 16<<10)
	defer func() {
		if s.gateway != nil {
			s.gateway.Close()
		}
		if s.back != nil {
			<-s.back
		}
		s.server.forget(s)
	}()
	for s.step(ctx) == nil {
	}
}

// reach connects to the FerretDB of a right, in the place of the one before.
func (s *session) reach(ctx context.Context, right string) error {
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	if s.gateway != nil {
		s.gateway.Close()
	}
	var d net.Dialer
	gateway, err := d.DialContext(ctx, "unix", Socket(s.server.config.RunDir, right))
	if err == nil {
		s.gateway = gateway
	}
	return err
}

// step passes one message on, and as long as nobody has logged in the answer to it.
func (s *session) step(ctx context.Context) error {
	m, err := s.next(ctx)
	if err == nil && s.gateway == nil {
		err = s.reach(ctx, Reader)
	}
	if err == nil {
		err = s.pass(m)
	}
	var refused *refusal
	if errors.As(err, &refused) {
		return s.refuse(m, refused)
	}
	if err != nil || s.loggedIn {
		return err
	}
	return s.relay(m)
}

// pass passes a message on. Of who has logged in, its answer comes by itself.
func (s *session) pass(m message) error {
	if s.loggedIn && s.back == nil {
		s.back = make(chan struct{})
		go s.answers()
	}
	if s.loggedIn {
		s.dues.owe(m)
	}
	_, err := s.gateway.Write(m.head)
	if err == nil && m.rest > 0 {
		err = passLong(s.gateway, s.from, m.sort, m.rest)
	}
	if err != nil && s.loggedIn {
		s.dues.pay(m.id)
	}
	return err
}

// refuse tells the client why its message is not passed on, behind the answers to those before.
func (s *session) refuse(m message, r *refusal) error {
	if m.mute || !s.dues.settle() {
		return r
	}
	if err := answer(s.client, m, r); err != nil || r.goesOn {
		return err
	}
	return r
}

// next reads a message, as it may be passed on.
func (s *session) next(ctx context.Context) (m message, err error) {
	switch {
	case s.loggedIn: // it may be silent for as long as it likes
	case s.heard && s.user == "":
		s.client.SetReadDeadline(time.Now().Add(namelessLimit))
	default:
		s.client.SetReadDeadline(time.Now().Add(handshakeLimit))
	}
	m, err = readMessage(s.from, s.loggedIn)
	if err == nil && !s.loggedIn {
		s.heard = true
		s.place.Heard()
	}
	if err == nil && m.user != "" {
		err = s.name(ctx, &m)
	}
	if err == nil && s.user == Driller && !m.isOfADrill() {
		err = &refusal{code: 13, name: "Unauthorized", sentence: "Who writes in a drill may do nothing else."}
	}
	if err == nil && m.isRefused(s.server.later.now().Refuses) {
		_, err = io.CopyN(io.Discard, s.from, m.rest)
		err = errors.Join(errFull, err)
	}
	return m, err
}

// relay passes on what FerretDB answers to m. Where that is the end of a login, the user needs a place. Where
// FerretDB hangs, nobody who has left meanwhile is kept for long: others come in their places.
func (s *session) relay(m message) error {
	s.gateway.SetReadDeadline(time.Now().Add(answerLimit))
	said, err := readAnswer(s.gateway)
	s.gateway.SetReadDeadline(time.Time{})
	if err != nil || m.mute {
		return err
	}
	s.client.SetWriteDeadline(time.Now().Add(handshakeLimit))
	if s.user != "" && m.goesOnWithLogin() && endsLogin(said) {
		if refused := s.server.admit(s); refused != nil {
			return errors.Join(refused, answer(s.client, m, refused))
		}
		s.client.SetDeadline(time.Time{})
	}
	_, err = s.client.Write(said)
	return err
}

// answers passes on what FerretDB says, until one side ends.
func (s *session) answers() {
	defer close(s.back)
	defer s.dues.end()
	for from := bufio.NewReaderSize(s.gateway, 16<<10); s.passAnswer(from) == nil; {
	}
	s.client.NetConn().Close()
}

// passAnswer passes on one answer of FerretDB's, however long it is, unless nobody waits for it.
func (s *session) passAnswer(from *bufio.Reader) error {
	length, request, err := answered(from)
	if err != nil {
		return err
	}
	defer s.dues.pay(request)
	switch {
	case !s.dues.isFor(request):
		_, err = io.CopyN(io.Discard, from, length)
	case isDenied(from, length):
		_, err = from.Discard(int(length))
		err = errors.Join(err, answer(s.client, message{id: request}, errDenied))
	default:
		_, err = io.CopyN(s.client, from, length)
	}
	return err
}

// name gives the connection to the user that m names, for ever, and leads it to the FerretDB of the user's right.
func (s *session) name(ctx context.Context, m *message) error {
	if s.user != "" && s.user == m.user && !s.unknown {
		return nil
	}
	if s.user != "" && s.user != m.user {
		return &refusal{code: 13, name: "Unauthorized", sentence: "A connection is of one user alone."}
	}
	if s.unknown {
		return m.disguise()
	}
	s.user = m.user
	if err := s.server.name(s); err != nil { // before the right is known: whoever drops the user ends this connection
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	right, err := s.server.rights.rightOf(ctx, m.user)
	switch {
	case err != nil:
		return &refusal{code: 91, name: "ShutdownInProgress", sentence: "The database does not answer."}
	case right == "":
		s.unknown = true
		return m.disguise()
	case right == Reader, s.server.onlyReads():
		return nil
	}
	return s.reach(ctx, right)
}

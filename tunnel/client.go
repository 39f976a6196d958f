package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel/mux"
)

// Client is the developer's end of a tunnel. It connects when it is first used and again after the
// connection was lost. Its fields are set once, before it is used; its methods are safe for concurrent
// use.
type Client struct {
	URL   string       // of the API, without a trailing slash
	HTTP  *http.Client // must speak HTTP/1.1
	Token func() (string, error)
	Lost  func(error) // is told why a connection that stood was lost

	connecting sync.Mutex // held while a connection is made
	mu         sync.Mutex
	session    *mux.Session
	lent       []backstay.BindingID
	token      string // the last that the server knows
	closed     bool
}

// connectPatience is how long the API may take to begin a tunnel.
const connectPatience = 20 * time.Second

// Connect makes sure that there is a connection.
func (c *Client) Connect(ctx context.Context) error {
	_, err := c.connect(ctx)
	return err
}

func (c *Client) connect(ctx context.Context) (*mux.Session, error) {
	c.connecting.Lock()
	defer c.connecting.Unlock()
	c.mu.Lock()
	session, closed := c.session, c.closed
	c.mu.Unlock()
	if closed {
		return nil, errors.New("the tunnel is closed")
	}
	if session != nil && session.Err() == nil {
		return session, nil
	}
	token, err := c.Token()
	if err != nil {
		return nil, err
	}
	if session, err = c.begin(ctx, token); err != nil {
		return nil, err
	}
	if err := c.keepLent(ctx, session); err != nil {
		session.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.token = session, token
	return session, nil
}

// begin makes a connection.
func (c *Client) begin(ctx context.Context, token string) (*mux.Session, error) {
	limited, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	conn, response, err := websocket.Dial(limited, c.URL+Path, &websocket.DialOptions{
		HTTPClient: c.HTTP, HTTPHeader: http.Header{"Authorization": {token}}, Subprotocols: []string{protocol},
	})
	if err != nil {
		return nil, c.explain(err, response)
	}
	if conn.Subprotocol() != protocol {
		conn.CloseNow()
		return nil, backstay.Errorf(backstay.Unsupported,
			"What answers at %s does not speak the tunnel protocol %s of this plugin.", c.URL, protocol)
	}
	session := mux.Opener(newCarrier(conn), muxConfig(new(mux.Growth)))
	go func() {
		<-session.Ended()
		c.tellLost(lost(session.Err()))
	}()
	return session, nil
}

func (c *Client) tellLost(err error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if !closed && c.Lost != nil {
		c.Lost(err)
	}
}

// maxRefusal is as much of an answer as the WebSocket library keeps.
const maxRefusal = 1024

// explain turns the answer to a request that became no tunnel into an error for people.
func (c *Client) explain(err error, response *http.Response) error {
	if response == nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The API at %s cannot be reached: %v", c.URL, err)
	}
	var refused httpErrors
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if json.Unmarshal(body, &refused) != nil || len(refused.Errors) == 0 || response.StatusCode == http.StatusNotFound {
		return backstay.Errorf(backstay.Unsupported,
			"What answers at %s has no tunnels (%s): it is no Backstay, or one of another age than this "+
				"plugin.", c.URL, response.Status)
	}
	for kind, status := range statuses {
		if status == response.StatusCode {
			return backstay.Errorf(kind, "%s", refused.Errors[0].Detail)
		}
	}
	return backstay.Errorf(backstay.Unavailable, "%s", refused.Errors[0].Detail)
}

var errLogin = backstay.Errorf(backstay.Anonymous,
	"The tunnel was ended because your login has ended. Log in again with 'cf login'.")

// lost says why a connection ended, as far as the server's number tells.
func lost(err error) error {
	var gone *mux.LeftError
	if errors.As(err, &gone) {
		switch backstay.Kind(gone.Code) {
		case backstay.Anonymous:
			return errLogin
		case backstay.Unavailable:
			return backstay.Errorf(backstay.Unavailable, "The tunnel was ended because Backstay is stopping.")
		}
	}
	return backstay.Wrapf(err, backstay.Unavailable, "The connection to Backstay was lost.")
}

// Broken says why a stream broke.
func Broken(err error) error {
	var reset *mux.ResetError
	if errors.As(err, &reset) && reset.Remote {
		switch k := backstay.Kind(reset.Code); k {
		case backstay.Anonymous:
			return errLogin
		case backstay.NotFound, backstay.Forbidden:
			return backstay.Errorf(k, "The binding is gone, or your right to use it.")
		case backstay.Unavailable:
			return backstay.Errorf(k, "The service instance broke the connection off.")
		}
	}
	return lost(err)
}

// stream opens a stream with a request, and returns it after the answer.
func (c *Client) stream(ctx context.Context, session *mux.Session, r request) (*mux.Stream, answer, error) {
	var a answer
	s, err := session.Open()
	if err != nil {
		return nil, a, lost(err)
	}
	stop := context.AfterFunc(ctx, func() { s.Reset(0) })
	defer stop()
	if err := writeMessage(s, r); err != nil {
		s.Reset(0)
		return nil, a, err
	}
	if err := readMessage(s, &a); err != nil {
		s.Reset(0)
		if ctx.Err() != nil {
			return nil, a, ctx.Err()
		}
		return nil, a, lost(err)
	}
	if err := a.err(); err != nil {
		s.Close()
		return nil, a, err
	}
	return s, a, nil
}

// ask is a stream that carries nothing but the answer.
func (c *Client) ask(ctx context.Context, r request) (answer, error) {
	session, err := c.connect(ctx)
	if err != nil {
		return answer{}, err
	}
	return c.askOver(ctx, session, r)
}

func (c *Client) askOver(ctx context.Context, session *mux.Session, r request) (answer, error) {
	s, a, err := c.stream(ctx, session, r)
	if err != nil {
		return a, err
	}
	return a, s.Close()
}

// Dial connects to the instance of a binding.
func (c *Client) Dial(ctx context.Context, id backstay.BindingID) (Stream, error) {
	session, err := c.connect(ctx)
	if err != nil {
		return Stream{}, err
	}
	s, _, err := c.stream(ctx, session, request{Verb: dial, Binding: id})
	return Stream{stream{s}}, err
}

// Stream is a connection to an instance: a [Conn], and a net.Conn for TLS to be spoken over.
type Stream struct{ stream }

// Lend asks for credentials of an instance that last as long as this client is connected, and a while
// longer after the connection was lost.
func (c *Client) Lend(ctx context.Context, l backstay.Loan) (backstay.BindingID, backstay.Credentials, error) {
	a, err := c.ask(ctx, request{Verb: bind, Instance: l.InstanceID, Name: l.Name, Parameters: l.Parameters})
	if err != nil {
		return "", nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lent = append(c.lent, a.Binding)
	return a.Binding, a.Credentials, nil
}

// Check tells whether a binding may be dialed.
func (c *Client) Check(ctx context.Context, id backstay.BindingID) error {
	_, err := c.ask(ctx, request{Verb: keep, Binding: id})
	return err
}

// Return ends all that was lent.
func (c *Client) Return(ctx context.Context) error {
	c.mu.Lock()
	lent := c.lent
	c.lent = nil
	c.mu.Unlock()
	var failed error
	for _, id := range lent {
		if _, err := c.ask(ctx, request{Verb: unbind, Binding: id}); backstay.KindOf(err) != backstay.NotFound {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// keepLent claims over a new connection what an earlier one was lent.
func (c *Client) keepLent(ctx context.Context, session *mux.Session) error {
	c.mu.Lock()
	lent := slices.Clone(c.lent)
	c.mu.Unlock()
	for _, id := range lent {
		_, err := c.askOver(ctx, session, request{Verb: keep, Binding: id})
		if backstay.KindOf(err) == backstay.NotFound {
			return backstay.Errorf(backstay.NotFound,
				"The connection to Backstay was lost for so long that the credentials have ended. Start again.")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// How often a token is looked at, and a lost connection is made again.
const (
	tokenInterval = 20 * time.Second
	retryInterval = time.Second
)

// Run keeps the tunnel connected, and its login fresh, until ctx ends or that cannot help any more.
func (c *Client) Run(ctx context.Context) error {
	for {
		session, err := c.connect(ctx)
		var wait time.Duration
		switch {
		case err == nil:
			wait = tokenInterval
		case backstay.KindOf(err) == backstay.Unavailable || backstay.KindOf(err) == backstay.Internal:
			wait, session = retryInterval, nil
		default:
			return err
		}
		var lost <-chan struct{}
		if session != nil {
			lost = session.Ended()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-lost:
		case <-time.After(wait):
			if err := c.renew(ctx); err != nil && ctx.Err() == nil && c.Lost != nil {
				c.Lost(err)
			}
		}
	}
}

// renew tells the server of a token that is newer than what it knows.
func (c *Client) renew(ctx context.Context) error {
	c.mu.Lock()
	session, known := c.session, c.token
	c.mu.Unlock()
	if session == nil || session.Err() != nil {
		return nil
	}
	token, err := c.Token()
	if err != nil || token == known {
		return err
	}
	if _, err := c.askOver(ctx, session, request{Verb: renew, Token: backstay.Secret(token)}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	return nil
}

// farewell is how long a server may take to hear that its client leaves; one that is out of reach never does.
const farewell = time.Second

// Close ends the connection, and tells the server that all is well. Streams that have not ended break.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	session := c.session
	c.mu.Unlock()
	if session == nil {
		return
	}
	heard := make(chan struct{})
	go func() {
		session.Leave(content)
		close(heard)
	}()
	select {
	case <-heard:
	case <-time.After(farewell):
	}
}

// ByService tells whether a stream broke because the instance broke it, and not on its way.
func ByService(err error) bool {
	var reset *mux.ResetError
	return errors.As(err, &reset) && reset.Remote && backstay.Kind(reset.Code) == backstay.Unavailable
}

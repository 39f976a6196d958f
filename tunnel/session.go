package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel/mux"
)

// session is one tunnel at the server's end.
type session struct {
	server  *Server
	mux     *mux.Session
	address string // where the tunnel comes from

	mu      sync.Mutex
	by      backstay.Actor
	header  string // what by has proved last who they are with
	streams map[*mux.Stream]backstay.BindingID
	lent    []backstay.BindingID
	over    error // why we have ended it: whoever waits for its streams may see its end before that is told

	serving sync.WaitGroup // what streams are for

	recording sync.Mutex // held while a beginning or an end is recorded
	begun     map[backstay.BindingID]func(context.Context) error
}

func (t *session) actor() backstay.Actor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by
}

// run serves the tunnel until it ends, and returns why it did.
func (t *session) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.accept(ctx) })
	g.Go(func() error { return t.check(ctx) })
	g.Go(func() error { return t.hold(ctx) })
	defer func() {
		t.serving.Wait()
		for id := range t.begun {
			t.recordEnd(context.WithoutCancel(ctx), id)
		}
	}()
	err := g.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return cmp.Or(t.over, err)
}

func (t *session) accept(ctx context.Context) error {
	defer t.mux.Close()
	for {
		s, err := t.mux.Accept(ctx)
		if err != nil {
			return err
		}
		t.serving.Go(func() { t.serve(ctx, s) })
	}
}

// openPatience is how long a stream may take to say what it is for.
const openPatience = 10 * time.Second

func (t *session) serve(ctx context.Context, s *mux.Stream) {
	defer s.Close()
	s.SetDeadline(time.Now().Add(openPatience))
	var r request
	if err := readMessage(s, &r); err != nil {
		t.answer(s, refuse(err))
		return
	}
	s.SetDeadline(time.Time{})
	if r.Verb == dial {
		t.dial(ctx, s, r.Binding)
		return
	}
	a, err := t.do(ctx, r)
	if err != nil {
		a = t.refuse(r, err)
	}
	t.answer(s, a)
}

func (t *session) answer(s *mux.Stream, a answer) {
	if err := writeMessage(s, a); err == nil {
		s.CloseWrite()
		return
	}
	s.Reset(0)
}

// refuse logs what nobody has explained to the user.
func (t *session) refuse(r request, err error) answer {
	if backstay.KindOf(err) == backstay.Internal {
		t.server.Log.Error("request of a tunnel failed", "user", t.actor().Username,
			"verb", r.Verb, "binding", r.Binding, "instance", r.Instance, "error", err)
	}
	return refuse(err)
}

func (t *session) do(ctx context.Context, r request) (answer, error) {
	switch r.Verb {
	case bind:
		return t.lend(ctx, r)
	case unbind:
		return answer{}, t.takeBack(ctx, r.Binding)
	case keep:
		return answer{}, t.keep(ctx, r.Binding)
	case renew:
		return answer{}, t.renew(ctx, r.Token.Reveal())
	}
	return answer{}, backstay.Errorf(backstay.Invalid, "A stream of a tunnel cannot be for %q.", r.Verb)
}

func (t *session) lend(ctx context.Context, r request) (answer, error) {
	loan := backstay.Loan{
		InstanceID: r.Instance, Name: r.Name, Parameters: r.Parameters, Until: t.server.leaseEnd(),
	}
	id, credentials, err := t.server.Gate.Lend(ctx, t.actor(), loan)
	if err != nil {
		return answer{}, err
	}
	t.mu.Lock()
	t.lent = append(t.lent, id)
	t.mu.Unlock()
	return answer{Binding: id, Credentials: credentials}, nil
}

// keep takes over what an earlier tunnel of the user was lent.
func (t *session) keep(ctx context.Context, id backstay.BindingID) error {
	if _, err := t.server.Gate.Endpoint(ctx, t.actor(), id); err != nil {
		return err
	}
	if err := t.server.Gate.Hold(ctx, []backstay.BindingID{id}, t.server.leaseEnd()); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lent = append(t.lent, id)
	return nil
}

func (t *session) takeBack(ctx context.Context, id backstay.BindingID) error {
	if err := t.server.Gate.Return(ctx, t.actor(), id); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lent = slices.DeleteFunc(t.lent, func(l backstay.BindingID) bool { return l == id })
	return nil
}

func (t *session) authenticate(ctx context.Context, header string) (backstay.Actor, error) {
	by, err := t.server.Authenticator.Authenticate(ctx, header)
	by.Address = t.address
	return by, err
}

// renew goes on with another token of the same user.
func (t *session) renew(ctx context.Context, header string) error {
	by, err := t.authenticate(ctx, header)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if by.UserID != t.by.UserID {
		return backstay.Errorf(backstay.Invalid,
			"A tunnel goes on with a token of whoever began it, and this one is another user's.")
	}
	t.by, t.header = by, header
	return nil
}

// dialPatience is how long an instance may take to accept a connection.
const dialPatience = 10 * time.Second

// dial carries the stream to where the binding's instance serves.
func (t *session) dial(ctx context.Context, s *mux.Stream, id backstay.BindingID) {
	by := t.actor()
	if err := t.server.open(by.UserID); err != nil {
		t.answer(s, refuse(err))
		return
	}
	defer t.server.shut(by.UserID)
	conn, err := t.reach(ctx, by, id)
	if err != nil {
		t.answer(s, t.refuse(request{Verb: dial, Binding: id}, err))
		return
	}
	t.note(s, id)
	defer t.forget(s)
	if err := writeMessage(s, answer{}); err != nil {
		conn.Close()
		s.Reset(0)
		return
	}
	atInstance, _ := Relay(TCP(conn), stream{s})
	if atInstance != nil {
		t.server.Log.Debug("a connection through a tunnel broke at the instance", "binding", id, "error", atInstance)
	}
}

// reach connects to the instance of a binding, for whoever may.
func (t *session) reach(ctx context.Context, by backstay.Actor, id backstay.BindingID) (net.Conn, error) {
	endpoint, err := t.server.Gate.Endpoint(ctx, by, id)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialPatience}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(endpoint.Host, strconv.Itoa(endpoint.Port)))
	if err != nil {
		return nil, backstay.Wrapf(err, backstay.Unavailable, "The service instance does not accept connections now.")
	}
	if err := t.recordBeginning(ctx, by, id); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// recordBeginning records the first use of a binding. Without a record there is no use.
func (t *session) recordBeginning(ctx context.Context, by backstay.Actor, id backstay.BindingID) error {
	t.recording.Lock()
	defer t.recording.Unlock()
	if t.begun[id] != nil {
		return nil
	}
	ended, err := t.server.Gate.Began(ctx, by, id)
	if err == nil {
		t.begun[id] = ended
	}
	return err
}

// recordPatience is how long an end may take to be recorded.
const recordPatience = 5 * time.Second

func (t *session) recordEnd(ctx context.Context, id backstay.BindingID) {
	t.recording.Lock()
	defer t.recording.Unlock()
	ended := t.begun[id]
	if ended == nil {
		return
	}
	delete(t.begun, id)
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	if err := ended(ctx); err != nil {
		t.server.Log.Error("the end of a tunnel was not recorded", "binding", id, "error", err)
	}
}

// note keeps an open stream under its binding, for checks to come.
func (t *session) note(s *mux.Stream, id backstay.BindingID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[s] = id
}

func (t *session) forget(s *mux.Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, s)
}

// How often rights are looked at again, and for how long they may stay unknown.
const (
	checkInterval = time.Second
	maxUnknown    = time.Minute
)

// check ends the tunnel when its user's login ends, and streams when the right to them does.
func (t *session) check(ctx context.Context) error {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	known := t.server.now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		err := t.checkOnce(ctx)
		switch {
		case err == nil:
			known = t.server.now()
		case backstay.KindOf(err) == backstay.Anonymous, t.server.now().Sub(known) > maxUnknown:
			for _, id := range t.inUse() {
				t.end(id, backstay.KindOf(err))
			}
			t.mu.Lock()
			t.over = err
			t.mu.Unlock()
			t.mux.Leave(uint32(backstay.KindOf(err)))
			return err
		}
	}
}

// checkOnce returns an error if it does not know, or the login has ended.
func (t *session) checkOnce(ctx context.Context) error {
	t.mu.Lock()
	header := t.header
	t.mu.Unlock()
	by, err := t.authenticate(ctx, header)
	if err != nil {
		return fmt.Errorf("authenticate the user of a tunnel: %w", err)
	}
	t.mu.Lock()
	if header == t.header {
		t.by = by
	}
	t.mu.Unlock()
	var unknown error
	for _, id := range t.inUse() {
		switch _, err := t.server.Gate.Endpoint(ctx, by, id); backstay.KindOf(err) {
		case backstay.Internal, backstay.Unavailable:
			unknown = errors.Join(unknown, err) // nil if there is none
		default:
			t.end(id, backstay.KindOf(err))
			t.recordEnd(ctx, id)
		}
	}
	return unknown
}

// inUse lists the bindings that there are streams of, each once.
func (t *session) inUse() []backstay.BindingID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []backstay.BindingID
	for _, id := range t.streams {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// end resets the streams of a binding. Each stops carrying at once, even while the client does not
// take the news of it.
func (t *session) end(id backstay.BindingID, k backstay.Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, of := range t.streams {
		if of == id {
			s.Reset(uint32(k))
		}
	}
}

// hold keeps what was lent from ending, as long as the tunnel lasts.
func (t *session) hold(ctx context.Context) error {
	ticker := time.NewTicker(t.server.lease() / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		t.mu.Lock()
		lent := slices.Clone(t.lent)
		t.mu.Unlock()
		if len(lent) == 0 {
			continue
		}
		if err := t.server.Gate.Hold(ctx, lent, t.server.leaseEnd()); err != nil && ctx.Err() == nil {
			t.server.Log.Warn("what was lent to a tunnel could not be held; it will be tried again", "error", err)
		}
	}
}

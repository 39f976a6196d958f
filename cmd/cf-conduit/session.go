package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"code.cloudfoundry.org/cli/v8/plugin"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel"
)

// session is one use of conduit: what it holds until it is closed.
type session struct {
	options  options
	api      *api
	tunnel   *tunnel.Client
	services []*service
	dir      string // for files that programs read; nobody else can
	listen   []*forward
	stop     context.CancelFunc
	ended    chan error // the tunnel's, once, when it cannot go on

	streams sync.WaitGroup
	broken  atomic.Bool  // whether a connection was lost in the tunnel, and not by either of its ends
	sent    atomic.Int64 // bytes, to services
	got     atomic.Int64 // bytes, from services
}

// open brings the services to ports of this machine.
func open(ctx context.Context, cf plugin.CliConnection, o options) (s *session, err error) {
	a, err := newAPI(cf)
	if err != nil {
		return nil, err
	}
	s = &session{options: o, api: a, ended: make(chan error, 1)}
	s.tunnel = &tunnel.Client{URL: a.url, HTTP: a.http, Token: a.token, Lost: func(err error) { s.say("%v", err) }}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "cf-conduit-"); err != nil {
		return s, err
	}
	if err := s.bind(ctx); err != nil {
		return s, err
	}
	if err := s.checkProgram(); err != nil {
		return s, err
	}
	go func() { s.ended <- s.tunnel.Run(running) }()
	return s, s.forward(running)
}

func (s *session) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "conduit: "+format+"\n", args...)
}

func (s *session) debug(format string, args ...any) {
	if s.options.verbose {
		s.say(format, args...)
	}
}

// bind finds the services and gets credentials to them. All are found before the first is bound.
func (s *session) bind(ctx context.Context) error {
	space, err := s.api.space(ctx, s.options)
	if err != nil {
		return err
	}
	for _, name := range s.options.services {
		service, err := s.api.instance(ctx, space, name)
		if err != nil {
			return err
		}
		s.services = append(s.services, service)
	}
	if s.options.existing {
		return s.borrow(ctx, space)
	}
	name := s.options.app
	if name == "" {
		name = keyPrefix + strings.ToLower(rand.Text()[:8])
	}
	if err := s.tunnel.Connect(ctx); err != nil {
		return err
	}
	for _, service := range s.services {
		if service.shared {
			if err := s.borrowAny(ctx, space, service); err != nil {
				return err
			}
			continue
		}
		s.debug("making the service key %s of %s", name, service.name)
		service.binding, service.Credentials, err = s.tunnel.Lend(ctx,
			backstay.Loan{InstanceID: service.instance, Name: name, Parameters: s.options.parameters})
		if err != nil {
			return fmt.Errorf("failed to bind service %s: %w", service.name, err)
		}
	}
	return nil
}

// borrowAny takes the credentials of any app's binding to a service that another space shares with this one.
func (s *session) borrowAny(ctx context.Context, space resource, service *service) error {
	if s.options.parameters != nil {
		return fmt.Errorf("%s is shared with space %s, where conduit makes no binding that could have parameters",
			service.name, space.Name)
	}
	if err := s.api.anyBinding(ctx, space, service); err != nil {
		return err
	}
	s.say("%s is shared with this space; using the binding of an app", service.name)
	return s.tunnel.Check(ctx, service.binding)
}

// borrow takes the credentials of an app's bindings.
func (s *session) borrow(ctx context.Context, space resource) error {
	app, err := s.api.find(ctx, "/v3/apps", named(s.options.app, "space_guids", space.GUID),
		fmt.Sprintf("app '%s'", s.options.app))
	if err != nil {
		return err
	}
	for _, service := range s.services {
		if err := s.api.appBinding(ctx, app, service); err != nil {
			return err
		}
		if err := s.tunnel.Check(ctx, service.binding); err != nil {
			return fmt.Errorf("%s: %w", service.name, err)
		}
	}
	return nil
}

// How long the end may take: for streams to say theirs, and for credentials to be taken back.
const (
	drainPatience  = 5 * time.Second
	returnPatience = 30 * time.Second
)

// close gives back what was lent. What cannot be given back, Backstay takes.
func (s *session) close() {
	for _, f := range s.listen {
		f.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), returnPatience)
	defer cancel()
	if err := s.tunnel.Return(ctx); err != nil {
		s.say("the temporary credentials could not be deleted and will end by themselves: %v", err)
	}
	s.stop()
	s.tunnel.Close()
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// drain waits until what was sent has arrived, or is known not to have.
func (s *session) drain() {
	done := make(chan struct{})
	go func() {
		s.streams.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainPatience):
		s.debug("connections are still open; they end now")
	}
}

// wait says what to connect to, until somebody has had enough.
func (s *session) wait(ctx context.Context) error {
	fmt.Fprint(os.Stderr, "\nThe following services are ready for you to connect to:\n\n")
	for i, service := range s.services {
		file, err := s.writeAuthority(i, service)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, service.describe(file))
	}
	fmt.Fprintln(os.Stderr, "Press Ctrl+C to shutdown.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.ended:
		return err
	}
}

var errBroken = errors.New("connections through the tunnel broke")

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tunnel"
)

// forward is one service's local port.
type forward struct {
	net.Listener
	service *service
	secure  *tls.Config // for programs that speak no TLS; nil if the service has plain beginnings
}

// forward opens a port for each service.
func (s *session) forward(ctx context.Context) error {
	next := s.options.port
	if next == 0 {
		next = defaultPort
	}
	for i, service := range s.services {
		if _, _, err := service.address(); err != nil {
			return err
		}
		l, err := listenFrom(next, i == 0 && s.options.port != 0)
		if err != nil {
			return err
		}
		service.port = l.Addr().(*net.TCPAddr).Port
		next = service.port + 1
		f := &forward{Listener: l, service: service}
		s.listen = append(s.listen, f)
		if service.tlsOnly() {
			if f.secure, err = s.secure(service); err != nil {
				return err
			}
		}
		s.debug("%s is at %s", service.name, l.Addr())
		go s.accept(ctx, f)
	}
	return nil
}

// portsTried is how many ports after the first may be in use.
const portsTried = 1000

// listenFrom takes the first free port from first on, or just that one.
func listenFrom(first int, only bool) (net.Listener, error) {
	for port := first; port < first+portsTried && port < 1<<16; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", loopback, port))
		switch {
		case err == nil:
			return l, nil
		case only && isInUse(err):
			return nil, backstay.Errorf(backstay.Taken, "Port %d is already in use", port)
		case !isInUse(err):
			return nil, err
		}
	}
	return nil, fmt.Errorf("no port from %d on is free", first)
}

// windowsInUse is WSAEADDRINUSE, which package syscall has no name for.
const windowsInUse = syscall.Errno(10048)

func isInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windowsInUse)
}

// secure is how conduit speaks TLS to a service: the certificate is for the service's own address.
func (s *session) secure(service *service) (*tls.Config, error) {
	c := s.options.tls.Clone()
	c.ServerName, _, _ = service.address()
	authority := service.authority()
	if authority == "" {
		return c, nil
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM([]byte(authority)) {
		return nil, fmt.Errorf("%s service names an authority that is no certificate", service.name)
	}
	return c, nil
}

func (s *session) accept(ctx context.Context, f *forward) {
	for {
		c, err := f.Accept()
		if err != nil {
			return
		}
		s.streams.Go(func() { s.carry(ctx, f, c) })
	}
}

// carry connects a program to its service, until both have ended.
func (s *session) carry(ctx context.Context, f *forward, c net.Conn) {
	local := counted{TCPConn: tunnel.TCP(c), in: &s.sent, out: &s.got}
	remote, err := s.reach(ctx, f, &local)
	if err != nil {
		local.Abort(backstay.Unavailable)
		local.Close()
		s.say("%s: %v", f.service.name, err)
		return
	}
	atProgram, atService := tunnel.Relay(&local, remote)
	if atProgram != nil {
		s.debug("%s: the program broke its connection: %v", f.service.name, atProgram)
	}
	switch {
	case atService == nil:
	case tunnel.ByService(atService): // which the program sees; PostgreSQL ends every session with TLS like that
		s.debug("%s: %v", f.service.name, tunnel.Broken(atService))
	default:
		s.say("%s: %v", f.service.name, tunnel.Broken(atService))
		s.broken.Store(true)
	}
}

// reach connects to the service. If clients of the service begin with TLS and this one does not, it is
// conduit that speaks it: whether one does, its first byte tells.
func (s *session) reach(ctx context.Context, f *forward, local *counted) (tunnel.Conn, error) {
	plain := false
	if f.secure != nil {
		buffered := bufio.NewReader(local.TCPConn)
		local.from = buffered
		first, err := buffered.Peek(1)
		plain = err == nil && first[0] != tlsHandshake
	}
	stream, err := s.tunnel.Dial(ctx, f.service.binding)
	if err != nil {
		return nil, err
	}
	if !plain {
		return stream, nil
	}
	secured := tls.Client(stream, f.secure)
	if err := secured.HandshakeContext(ctx); err != nil {
		stream.Abort(backstay.Unavailable)
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tunnel.TLS(secured, stream), nil
}

// tlsHandshake is what a connection begins with that speaks TLS (RFC 8446, section 5.1).
const tlsHandshake = 22

// counted is a program's connection, with what goes through it counted.
type counted struct {
	tunnel.TCPConn
	from    *bufio.Reader // what was read ahead; nil if nothing was
	in, out *atomic.Int64
}

func (c *counted) Read(b []byte) (n int, err error) {
	if c.from != nil {
		n, err = c.from.Read(b)
	} else {
		n, err = c.TCPConn.Read(b)
	}
	c.in.Add(int64(n))
	return n, err
}

// TryWrite counts what is written past Write.
func (c *counted) TryWrite(b []byte) (int, error) {
	n, err := c.TCPConn.TryWrite(b)
	c.out.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

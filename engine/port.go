package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/backstay/backstay"
)

// ClientPort is the name of the port for clients, where an endpoint leads to. Engines name further ports themselves.
const ClientPort = "client"

// Port is where a node listens.
type Port struct {
	Name   string
	Number int
	Listen []string // the addresses to bind, at least one
}

// Port returns the node's port of that name, or the zero Port, which has no address, if there is none.
func (n Node) Port(name string) Port {
	for _, p := range n.Ports {
		if p.Name == name {
			return p
		}
	}
	return Port{}
}

// CheckPorts returns an error of kind Invalid unless the node listens on IP addresses only and has a certificate with
// the key that belongs to it. Names are refused because servers look them up, and take some for all addresses. A node
// without ports needs no certificate.
func (n Node) CheckPorts() error {
	if len(n.Ports) == 0 {
		return nil
	}
	for _, p := range n.Ports {
		for _, address := range p.Listen {
			if _, err := netip.ParseAddr(address); err != nil {
				return backstay.Wrapf(err, backstay.Invalid, "%q is not an address to listen on.", address)
			}
		}
	}
	if _, err := tls.X509KeyPair([]byte(n.TLS.Leaf), []byte(n.TLS.Key.Reveal())); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The certificate of the service instance does not go with its key.")
	}
	return nil
}

// TryPorts returns an error of kind Unavailable if the node is to listen on an address that this machine does not
// have. It does not try the port numbers, which the node itself may hold at the moment.
func TryPorts(ctx context.Context, n Node) error {
	for _, p := range n.Ports {
		for _, address := range p.Listen {
			var c net.ListenConfig
			l, err := c.Listen(ctx, "tcp", net.JoinHostPort(address, "0"))
			if errors.Is(err, syscall.EADDRNOTAVAIL) {
				return backstay.Wrapf(err, backstay.Unavailable, "The address %s is not one of this machine's.", address)
			}
			if err != nil {
				return err
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

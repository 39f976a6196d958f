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

// ClientPort is the name of the port that an endpoint leads to. An engine that listens on others too
// names them itself.
const ClientPort = "client"

// Port is where a node listens.
type Port struct {
	Name   string
	Number int
	Listen []string // the addresses to bind, at least one
}

// Port returns the node's port of that name. Where it has none, that is the zero Port, which has no address.
func (n Node) Port(name string) Port {
	for _, p := range n.Ports {
		if p.Name == name {
			return p
		}
	}
	return Port{}
}

// CheckPorts is Invalid unless the node has a certificate for its ports, with the key that belongs to it. It
// refuses to listen on anything but addresses: engines look names up, and take some for everything there is.
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

// TryPorts is Unavailable if an address on which the node is to listen is not one of this machine's. The
// numbers are not tried: the node itself may hold them.
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

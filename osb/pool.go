package osb

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay"
)

// Pool opens brokers as they were registered. One that is opened again in the same way keeps its connections. It is
// safe for concurrent use; its field is set before use.
type Pool struct {
	// Networks are those that a broker of a space may be in; nil: any but this machine and what is not public (see
	// [Reserved]), for whoever registers a broker reads what is answered there. The whole platform's brokers are
	// registered by administrators, and may be anywhere.
	Networks []netip.Prefix

	mu      sync.Mutex
	clients map[registered]*Client
}

// registered is all that decides how a broker is asked.
type registered struct {
	url    string
	login  backstay.BrokerLogin
	scoped bool
}

// maxClients is how many brokers are kept open at once. Whoever registers more of them loses connections, and no more.
const maxClients = 1000

// Open opens a broker.
func (p *Pool) Open(b backstay.ServiceBroker, l backstay.BrokerLogin) (backstay.Broker, error) {
	key := registered{b.URL, l, b.SpaceID != ""}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[key]; ok {
		return c, nil
	}
	if p.clients == nil || len(p.clients) >= maxClients {
		for _, c := range p.clients {
			c.Close()
		}
		p.clients = map[registered]*Client{}
	}
	c := &Client{URL: b.URL, Username: l.Username, Password: l.Password}
	if key.scoped {
		c.Dial = p.dial
	}
	p.clients[key] = c
	return c, nil
}

// connectPatience is how long it may take to connect to a broker.
const connectPatience = 10 * time.Second

// dial connects to a broker of a space, if its address is in a network where it may be. It looks at the address that is
// connected to, not at a name, which may be another one's a moment later.
func (p *Pool) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectPatience, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !p.allows(at.Addr().Unmap()) {
			return errForbidden
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

// errForbidden is why a broker of a space is not connected to.
var errForbidden = backstay.Errorf(backstay.Unavailable,
	"The service broker is at an address where brokers of a space may not be. An operator allows networks with "+
		"space-broker-networks.")

func (p *Pool) allows(address netip.Addr) bool {
	if p.Networks == nil {
		return !Reserved(address) && !isOwn(address)
	}
	for _, n := range p.Networks {
		if n.Contains(address) {
			return true
		}
	}
	return false
}

// isOwn tells whether an address is one of this machine's. Where that cannot be found out, it may be.
func isOwn(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(own, func(of net.Addr) bool {
		prefix, err := netip.ParsePrefix(of.String())
		return err == nil && prefix.Addr().Unmap() == a.WithZone("")
	})
}

// Reserved tells whether an address is in no public network: on loopback, on a machine's link, or private. There are
// services that trust whoever reaches them, as those of clouds that tell a machine its secrets.
func Reserved(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsPrivate() {
		return true
	}
	for _, n := range reserved {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// reserved are besides those: this network, what carriers and translators of addresses have between them and others,
// and where a cloud tells a machine its secrets that does not do so on the link.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("192.0.0.0/24"),
}

// LogValue is how many brokers there are: it shows nobody's login.
func (p *Pool) LogValue() slog.Value {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slog.IntValue(len(p.clients))
}

// LogValue is where the broker is.
func (r registered) LogValue() slog.Value { return slog.StringValue(r.url) }

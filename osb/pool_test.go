package osb_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/osb/osbtest"
)

// TestWhereBrokersMayBe opens a broker on loopback: an administrator's may be there, a space's only where an operator
// says so.
func TestWhereBrokersMayBe(t *testing.T) {
	t.Parallel()
	url := osbtest.Serve(t, brokertest.NewMemory()).URL
	named := strings.Replace(url, "127.0.0.1", "localhost", 1)
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, tc := range map[string]struct {
		url      string
		space    backstay.SpaceID
		networks []netip.Prefix
		allowed  bool
	}{
		"the whole platform's":  {url, "", nil, true},
		"a space's":             {url, "space", nil, false},
		"a space's, by name":    {named, "space", nil, false},
		"where it is allowed":   {url, "space", loopback, true},
		"where another is":      {url, "space", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, false},
		"nowhere":               {url, "space", []netip.Prefix{}, false},
		"the platform's anyway": {url, "", []netip.Prefix{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &osb.Pool{Networks: tc.networks}
			b, err := p.Open(backstay.ServiceBroker{URL: tc.url, SpaceID: tc.space},
				backstay.BrokerLogin{Username: osbtest.Username, Password: osbtest.Password})
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Catalog(t.Context())
			if refused := err != nil && strings.Contains(backstay.SentenceOf(err), "space-broker-networks"); refused == tc.allowed {
				t.Errorf("it answers %v", err)
			}
		})
	}
}

func TestReservedAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "0.0.0.0": true, "::": true, "169.254.169.254": true, "fe80::1": true,
		"fd00:ec2::254": true, "224.0.0.1": true, "64:ff9b::7f00:1": true, "10.1.2.3": true, "192.168.0.9": true,
		"100.100.100.200": true, "192.0.0.192": true, "203.0.113.9": false, "2001:db8::1": false,
	} {
		if got := osb.Reserved(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is reserved: %v", address, got)
		}
	}
}

// TestOwnAddresses: what listens on all addresses of this machine is as little meant for others as on loopback.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, of := range own {
		at := netip.MustParsePrefix(of.String()).Addr()
		if at.IsLoopback() || at.IsLinkLocalUnicast() {
			continue
		}
		tried++
		b, err := new(osb.Pool).Open(backstay.ServiceBroker{SpaceID: "space",
			URL: "http://" + netip.AddrPortFrom(at, 9).String()}, backstay.BrokerLogin{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = b.Catalog(t.Context()); !strings.Contains(backstay.SentenceOf(err), "space-broker-networks") {
			t.Errorf("%s: %v", at, err)
		}
	}
	if tried == 0 {
		t.Skip("this machine has no other address than loopback's")
	}
}

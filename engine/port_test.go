package engine_test

import (
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/pki"
)

func issue(t *testing.T) backstay.Certificate {
	t.Helper()
	authority, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := authority.Issue([]string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPorts(t *testing.T) {
	t.Parallel()
	c := issue(t)
	foreign := c
	foreign.Key = issue(t).Key
	for _, tc := range []struct {
		name     string
		listen   []string
		tls      backstay.Certificate
		possible bool
	}{
		{"addresses", []string{"127.0.0.1", "::1", "0.0.0.0"}, c, true},
		{"none", nil, backstay.Certificate{}, true},
		{"a name", []string{"localhost"}, c, false},
		{"all that there are", []string{"*"}, c, false},
		{"no address", []string{""}, c, false},
		{"no certificate", []string{"127.0.0.1"}, backstay.Certificate{}, false},
		{"another's key", []string{"127.0.0.1"}, foreign, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := engine.Node{TLS: tc.tls}
			if tc.listen != nil {
				n.Ports = []engine.Port{{Name: engine.ClientPort, Number: 20000, Listen: tc.listen}}
			}
			if err := n.CheckPorts(); (err == nil) != tc.possible {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTryPorts(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]backstay.Kind{"127.0.0.1": 0, "192.0.2.1": backstay.Unavailable} { // RFC 5737
		n := engine.Node{Ports: []engine.Port{{Name: engine.ClientPort, Number: 20000, Listen: []string{address}}}}
		err := engine.TryPorts(t.Context(), n)
		if (err == nil) != (want == 0) || err != nil && backstay.KindOf(err) != want {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

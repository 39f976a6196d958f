package tunnel_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/backstay/backstay/tunnel"
)

// connectProxy is an HTTP proxy that can CONNECT and nothing else.
func connectProxy(t *testing.T, used *atomic.Int32) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		used.Add(1)
		w.WriteHeader(http.StatusOK)
		from, rest, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		go io.Copy(to, rest)
		io.Copy(from, to)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A developer behind a company's proxy reaches an API behind a load balancer that ends TLS.
func TestThroughProxyAndLoadBalancer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(t, echo)
	api, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	balancer := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(api))
	t.Cleanup(balancer.Close)
	var used atomic.Int32
	transport := balancer.Client().Transport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(connectProxy(t, &used))
	c := &tunnel.Client{
		URL: balancer.URL, HTTP: &http.Client{Transport: transport},
		Token: func() (string, error) { return "bearer one", nil },
	}
	t.Cleanup(c.Close)
	s := mustDial(t, c)
	go func() {
		s.Write([]byte("hello"))
		s.CloseWrite()
	}()
	if said, err := io.ReadAll(s); err != nil || string(said) != "hello" || used.Load() == 0 {
		t.Errorf("said %q, %v; the proxy was used %d times", said, err, used.Load())
	}
}

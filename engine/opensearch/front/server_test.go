package front

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/backstay/backstay/internal/guess"
)

// answering is an OpenSearch whose answers end in the middle.
type answering struct{}

func (answering) RoundTrip(r *http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader("{"), iotest.ErrReader(errors.New("the client is gone")))
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{},
		Body: io.NopCloser(body), ContentLength: 100,
	}, nil
}

// TestAnAnswerThatIsNotReadCostsNoTry, and whoever was let in is known then.
func TestAnAnswerThatIsNotReadCostsNoTry(t *testing.T) {
	t.Parallel()
	p := &places{path: t.TempDir(), most: 1}
	near, _ := net.Pipe()
	s := &server{places: p, logins: newLogins(time.Now), proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "https", "node" }, Transport: answering{},
		ModifyResponse: settle, ErrorHandler: unavailable,
	}}
	r := httptest.NewRequest(http.MethodGet, "/books/_search", nil)
	r.RemoteAddr = "192.0.2.1:1000"
	r.Header.Set("Authorization", "Basic of a user")
	ctx := context.WithValue(r.Context(), placeKey{}, p.take(near))
	ctx = context.WithValue(ctx, http.ServerContextKey, &http.Server{})
	func() {
		defer func() {
			if caught := recover(); caught != http.ErrAbortHandler {
				t.Fatalf("it ends with %v", caught)
			}
		}()
		s.serve(httptest.NewRecorder(), r.WithContext(ctx))
	}()
	from := netip.MustParseAddr("192.0.2.1")
	if left := s.logins.left(guess.Network(from), time.Now()); left != freeTries {
		t.Errorf("of %d tries the network has %v left", freeTries, left)
	}
	if again, status := s.logins.begin(from, "Basic of a user"); status != 0 || !again.known {
		t.Errorf("who was let in is not known: %+v, %d", again, status)
	}
}

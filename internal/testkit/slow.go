package testkit

import (
	"crypto/tls"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// SlowObjects is an object store that lets whoever asks wait before it hears them.
type SlowObjects struct {
	backstay.ObjectStore

	delay atomic.Int64
}

// Delay says how long each request waits from now on.
func (s *SlowObjects) Delay(d time.Duration) { s.delay.Store(int64(d)) }

// Slow is the store behind a door of its own, which takes its time when it is told to.
func (o *Objects) Slow(t testing.TB) *SlowObjects {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(o.Authority, filepath.Join(filepath.Dir(o.Authority), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	slow := &SlowObjects{ObjectStore: o.ObjectStore}
	through := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // the host stays as it is, for it is signed
			r.Out.URL.Scheme, r.Out.URL.Host = "https", o.Endpoint
		},
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, // it is ours
		},
		ErrorLog: log.New(t.Output(), "", 0),
	}
	door := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(time.Duration(slow.delay.Load())):
		case <-r.Context().Done():
		}
		through.ServeHTTP(w, r)
	}))
	door.Config.ErrorLog = through.ErrorLog
	door.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	door.StartTLS()
	t.Cleanup(door.Close)
	slow.Endpoint = strings.Replace(door.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	return slow
}

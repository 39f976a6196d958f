// Package osbtest puts the two ends of package osb back to back, for tests of whoever has a broker over HTTP.
package osbtest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/osb"
)

// Username and Password are who is served.
const (
	Username                 = "platform"
	Password backstay.Secret = "a-platform's-password"
)

// Handler serves b to one platform.
func Handler(t testing.TB, b backstay.Broker) *osb.Handler {
	return &osb.Handler{
		Open: func(_ *http.Request, username string, password backstay.Secret) (backstay.Broker, error) {
			if username != Username || password != Password {
				return nil, backstay.Errorf(backstay.Anonymous, "The name or the password is wrong.")
			}
			return b, nil
		},
		AsyncBindings: true,
		Log:           slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// Serve serves b over HTTP until the test ends, and returns it as whoever asks there has it.
func Serve(t testing.TB, b backstay.Broker) *osb.Client {
	t.Helper()
	return Ask(t, httptest.NewServer(Handler(t, b).Handler()))
}

// Ask returns the broker that a server is, until the test ends.
func Ask(t testing.TB, server *httptest.Server) *osb.Client {
	t.Helper()
	c := &osb.Client{URL: server.URL, Username: Username, Password: Password}
	t.Cleanup(func() {
		c.Close()
		server.Close()
	})
	return c
}

package opensearch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/opensearch"
	"github.com/backstay/backstay/engine/opensearch/front"
	"github.com/backstay/backstay/internal/testkit"
)

// What a copy of the test's program is to be: a node's front, or who clones a node, as standard input says, and is
// killed with the source's snapshot at hand.
const (
	asFront  = "be-the-front"
	asCloner = "be-killed-cloning"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asFront {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := front.Main(ctx, os.Args[2:], os.Stderr)
		stop()
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == asCloner {
		beKilledCloning()
	}
	os.Exit(runTests(m))
}

// tested is the OpenSearch in the directory that the environment names.
var tested opensearch.Engine

// runTests puts a copy of the test's program where the users of nodes can run it.
func runTests(m *testing.M) int {
	home := os.Getenv("BACKSTAY_TEST_OPENSEARCH")
	if home == "" {
		return m.Run()
	}
	program, remove := testkit.CopyOfUs("BACKSTAY_TEST_OPENSEARCH_FRONT")
	defer remove()
	tested = opensearch.Engine{Homes: []string{home}, Front: []string{program, asFront}}
	return m.Run()
}

func needOpenSearch(t testing.TB) {
	t.Helper()
	if len(tested.Homes) == 0 {
		t.Skip("BACKSTAY_TEST_OPENSEARCH names no directory with OpenSearch: scripts/other-search makes one")
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	needOpenSearch(t)
	enginetest.Run(t, enginetest.Subject{
		Engine: tested, Connect: connect, ResizeRestarts: true, Large: true,
		BadSettings: []string{`{"http.port": 9200}`, `[]`},
		Refusing: enginetest.Refusing{Delete: func(ctx context.Context, c enginetest.Session) error {
			_, err := c.(session).ask(ctx, http.MethodDelete, "/keys", "")
			return err
		}},
	})
}

// session is a client with one connection, that logs in with each request as all clients do.
type session struct {
	uri    *url.URL
	client *http.Client
}

// dial opens a client with the uri of the credentials, as an app does, and trusts their authority alone.
func dial(c backstay.Credentials) (session, error) {
	uri, err := url.Parse(c["uri"].(string))
	if err != nil {
		return session{}, err
	}
	return newSession(uri, c["ca_certificate"].(string), &tls.Config{}), nil
}

// newSession trusts an authority, in connections that are otherwise as told.
func newSession(uri *url.URL, authority string, secure *tls.Config) session {
	secure.RootCAs, secure.MinVersion = x509.NewCertPool(), tls.VersionTLS12
	secure.RootCAs.AppendCertsFromPEM([]byte(authority))
	return session{uri, &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: secure}}}
}

func connect(ctx context.Context, c backstay.Credentials) (enginetest.Session, error) {
	s, err := dial(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.ask(ctx, http.MethodGet, "/", ""); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.text) }

// ask sends a request, and returns the answer, or a refusal.
func (s session) ask(ctx context.Context, method, path, body string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.uri.String()+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	got, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode >= 300 {
		err = refusal{got.StatusCode, string(text)}
	}
	return string(text), err
}

func (s session) Set(ctx context.Context, key, value string) error {
	_, err := s.ask(ctx, http.MethodPut, "/keys/_doc/"+url.PathEscape(key), fmt.Sprintf(`{"v": %q}`, value))
	return err
}

func (s session) Get(ctx context.Context, key string) (string, error) {
	text, err := s.ask(ctx, http.MethodGet, "/keys/_doc/"+url.PathEscape(key), "")
	var found struct {
		Source struct{ V string } `json:"_source"`
	}
	if err == nil {
		err = json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&found)
	}
	return found.Source.V, err
}

func (s session) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// serving is a node with a binding's client, and one of a binding that may only read.
func serving(t *testing.T) (n engine.Node, writer, reader session) {
	t.Helper()
	needOpenSearch(t)
	n = enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	writer, reader = users(t, n)
	return n, writer, reader
}

// users are those two of a node that serves.
func users(t *testing.T, n engine.Node) (writer, reader session) {
	t.Helper()
	return bound(t, n, engine.User{Name: "u1", Password: "correcthorsebatterystaple"}),
		bound(t, n, engine.User{Name: "r1", Password: "correcthorsebatterystaple", ReadOnly: true})
}

// bound is the client of a new user.
func bound(t *testing.T, n engine.Node, u engine.User) session {
	t.Helper()
	c, err := tested.CreateUser(t.Context(), n, u)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// status is that of an answer.
func status(err error) int {
	var r refusal
	if errors.As(err, &r) {
		return r.status
	}
	return http.StatusOK
}

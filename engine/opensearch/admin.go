package opensearch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/opensearch/front"
	"github.com/backstay/backstay/internal/wait"
)

// LocalAdmin is the front's Unix socket in RunDir. The secret is all that it takes to prove oneself and to know the
// server: the operator's certificate with its key, and the authority of the server's.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	a := engine.SocketAdmin(n, front.Socket(n.RunDir), operator)
	a.Secret = func() (backstay.Secret, error) { return operatorSecret(n.DataDir) }
	return a
}

func operatorSecret(dataDir string) (backstay.Secret, error) {
	root, err := os.OpenRoot(dataDir) // the server may have put links into it
	if err != nil {
		return "", err
	}
	defer root.Close()
	own, err := root.ReadFile(operatorFile)
	if err != nil {
		return "", err
	}
	authority, err := root.ReadFile(nodeCAFile)
	return backstay.Secret(string(own) + string(authority)), err
}

// identity is what a secret holds.
func identity(secret backstay.Secret) (*tls.Config, error) {
	text := []byte(secret.Reveal())
	own, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	own.Certificate = own.Certificate[:1] // behind it comes the authority of the server
	trusted := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.IsCA {
			trusted.AddCert(c)
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: trusted, ServerName: nodeName,
		MinVersion: tls.VersionTLS12}, nil
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("OpenSearch answers %d: %s", r.status, r.text) }

// client asks a running node as its administrator, over one connection.
type client struct{ http http.Client }

// withAdmin calls do with a client of the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*client) error) error {
	secret, err := n.Admin.Secret()
	if err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The service instance has no administrator.")
	}
	who, err := identity(secret)
	if err != nil {
		return fmt.Errorf("read the operator's certificate: %w", err)
	}
	t := &http.Transport{MaxConnsPerHost: 1, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := n.Admin.Dial(ctx)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, who)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secure, nil
	}}
	defer t.CloseIdleConnections()
	return inWords(do(&client{http.Client{Transport: t}}))
}

// ask sends a request with a body, unless that is nil, and decodes the answer, unless that is nil.
func (c *client) ask(ctx context.Context, method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+nodeName+path, sent)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	got, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, answerLimit))
	if err != nil {
		return err
	}
	if got.StatusCode >= 300 {
		return &refusal{got.StatusCode, string(text)}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// answerLimit is far more than any answer has: users can make many things, and none of what is asked lists them.
const answerLimit = 4 << 20

// diskFull is what the operating system says, and the server after it.
const diskFull = "No space left on device"

// inWords makes an error Unavailable, with a sentence, whose reason is known.
func inWords(err error) error {
	var said *refusal
	var classified *backstay.Error
	switch {
	case err == nil, errors.As(err, &classified):
		return err
	case !errors.As(err, &said):
		return backstay.Wrapf(err, backstay.Unavailable, "OpenSearch does not answer.")
	case strings.Contains(said.text, diskFull):
		return backstay.Wrapf(err, backstay.Unavailable, "The disk of the service instance is full.")
	case said.status == http.StatusTooManyRequests:
		return backstay.Wrapf(err, backstay.Unavailable, "OpenSearch has too little memory left for that.")
	case said.status >= 500:
		return backstay.Wrapf(err, backstay.Unavailable, "OpenSearch cannot do that at the moment.")
	}
	return err
}

// startPause is how long a node that starts is left alone: it has enough to do.
const startPause = 100 * time.Millisecond

// Probe wants the server to know its users, and to have opened what was kept in it before it started.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	err := withAdmin(ctx, n, func(c *client) error {
		if err := c.ask(ctx, http.MethodGet, "/_plugins/_security/health?mode=strict", nil, nil); err != nil {
			return err
		}
		return recovered(ctx, c)
	})
	if err != nil {
		wait.Pause(ctx, startPause) // if there is time: who asks asks again
	}
	var said *refusal
	if errors.As(err, &said) {
		return backstay.Wrapf(err, backstay.Unavailable, "OpenSearch does not serve yet.")
	}
	return err
}

// recovered wants what was kept before the start to be open, as far as it can be. What users have made since, or have
// asked for that can be nowhere, keeps nobody waiting.
func recovered(ctx context.Context, c *client) error {
	var health struct {
		Status  string
		Looking int `json:"number_of_in_flight_fetch"`
	}
	err := c.ask(ctx, http.MethodGet, "/_cluster/health?timeout=0s", nil, &health)
	if err != nil || health.Status != "red" {
		return err
	}
	var shards []struct {
		State  string
		Reason string `json:"unassigned.reason"`
	}
	err = c.ask(ctx, http.MethodGet, "/_cat/shards?format=json&h=state,unassigned.reason", nil, &shards)
	if err != nil {
		return err
	}
	opening, failed := health.Looking > 0, false
	for _, s := range shards {
		opening = opening || s.State == "INITIALIZING" && s.Reason == "CLUSTER_RECOVERED"
		failed = failed || s.State == "UNASSIGNED" && s.Reason == "ALLOCATION_FAILED"
	}
	switch {
	case opening:
		return &refusal{http.StatusServiceUnavailable, "indices are being opened"}
	case failed: // several times, as on a disk that was full: it would not be tried again by itself
		return retryFailed(ctx, c)
	}
	return nil
}

// retryFailed has the server open indices again that it could not open several times.
func retryFailed(ctx context.Context, c *client) error {
	return c.ask(ctx, http.MethodPost, "/_cluster/reroute?retry_failed=true&metric=none", nil, nil)
}

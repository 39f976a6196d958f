package osb

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay"
)

// Client is a broker that is reached over HTTP. Its fields are set once, before use; its methods are safe for
// concurrent use.
//
// A request that failed may have a [backstay.Failure]: by its Orphan the platform knows whether to end what the broker
// may have made nevertheless. Polling goes on over failures of the broker, as the specification wants, in
// AwaitOperation and AwaitBindingOperation; LastOperation asks once.
type Client struct {
	URL      string // where the broker is: what comes before "/v2/"
	Username string
	Password backstay.Secret

	Roots     *x509.CertPool // who vouches for its certificate; nil: whom this machine trusts
	Timeout   time.Duration  // of one request, with its answer; a minute if 0
	MaxAnswer backstay.Bytes // the largest answer that is read; 4MB if 0

	// The pauses of polling double from the first to the longest. A broker's Retry-After wins over them.
	FirstPause, LongestPause time.Duration // 100ms and 15s if 0

	// Dial makes connections, for a platform that lets brokers be in some networks only; a net.Dialer's if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	once sync.Once
	http *http.Client

	known extensions
}

var (
	_ backstay.Broker                  = (*Client)(nil)
	_ backstay.Admitter                = (*Client)(nil)
	_ backstay.OperationAwaiter        = (*Client)(nil)
	_ backstay.BindingOperationAwaiter = (*Client)(nil)
	_ backstay.Watcher                 = (*Client)(nil)
	_ backstay.HealthTeller            = (*Client)(nil)
	_ backstay.TroubleTeller           = (*Client)(nil)
	_ backstay.Overwriter              = (*Client)(nil)
	_ backstay.Copier                  = (*Client)(nil)
	_ backstay.DrillHolder             = (*Client)(nil)
)

// LogValue is where the broker is.
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.URL) }

// client follows no redirect and asks for nothing compressed: neither is a broker's to choose. It uses no proxy of its
// environment, which would see the password.
func (c *Client) client() *http.Client {
	c.once.Do(func() {
		dial := c.Dial
		if dial == nil {
			dial = (&net.Dialer{Timeout: c.timeout()}).DialContext
		}
		c.http = &http.Client{
			Transport: &http.Transport{
				DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
				DisableCompression: true, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
				MaxResponseHeaderBytes: 64 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return c.http
}

// Close lets go of the connections that are kept for the next request.
func (c *Client) Close() { c.client().CloseIdleConnections() }

func (c *Client) timeout() time.Duration      { return cmp.Or(c.Timeout, time.Minute) }
func (c *Client) maxAnswer() backstay.Bytes   { return cmp.Or(c.MaxAnswer, 4*backstay.MB) }
func (c *Client) firstPause() time.Duration   { return cmp.Or(c.FirstPause, 100*time.Millisecond) }
func (c *Client) longestPause() time.Duration { return cmp.Or(c.LongestPause, 15*time.Second) }

// request is one to a broker, and what the specification says of its answer.
type request struct {
	method string
	path   string // below "/v2/", escaped
	query  url.Values
	body   any // nil: none
	call   backstay.Call

	success []int // the statuses that are no failure
	gone    []int // those that say that what was asked about is not there
	creates bool  // it makes something, of which an orphan may be left
	secret  bool  // its answer has credentials, and is never shown
}

// answer is a broker's, as it came.
type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
	extension  string // that has given it

	done backstay.OperationKey // of what was done when it was answered
}

// ask sends a request and decodes its answer into v, or returns what went wrong as an error of ours.
func (c *Client) ask(ctx context.Context, r request, v any) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	var connected bool
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	})
	a, err := c.send(limited, r)
	for err == nil && a.status == http.StatusTooManyRequests && a.retryAfter > 0 && wait(limited, a.retryAfter) {
		a, err = c.send(limited, r) // it was not heard before
	}
	switch {
	case err == nil:
		return a, r.judge(a, v)
	case ctx.Err() != nil: // whoever asked waits no longer: the broker has not failed
		return a, fmt.Errorf("ask the broker: %w", context.Cause(ctx))
	}
	return a, r.unanswered(err, connected, limited.Err() != nil)
}

// wait waits for d, if there is time for that, and tells whether there was.
func wait(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return false
	}
	return sleep(ctx, d) == nil
}

func (c *Client) send(ctx context.Context, r request) (a answer, err error) {
	var body io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return a, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	address := strings.TrimRight(c.URL, "/") + "/v2/" + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	asked, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return a, err
	}
	asked.SetBasicAuth(c.Username, c.Password.Reveal())
	setHeaders(asked.Header, r)
	got, err := c.client().Do(asked)
	if err != nil {
		return a, err
	}
	defer got.Body.Close()
	a.status, a.retryAfter = got.StatusCode, retryAfter(got.Header.Get("Retry-After"), time.Now())
	a.extension = got.Header.Get(extensionHeader)
	if done := got.Header.Get(doneHeader); printable(done, maxOperationKey) {
		a.done = backstay.OperationKey(done)
	}
	if got.Header.Get("Content-Encoding") != "" {
		return a, errEncoded
	}
	a.body, err = io.ReadAll(io.LimitReader(got.Body, int64(c.maxAnswer())+1))
	if err == nil && int64(len(a.body)) > int64(c.maxAnswer()) {
		err = errTooLarge
	}
	return a, err
}

// What a broker answers and nobody reads.
var (
	errEncoded  = errors.New("the answer is encoded, though that was not asked for")
	errTooLarge = errors.New("the answer is too large")
)

func setHeaders(h http.Header, r request) {
	h.Set(versionHeader, version)
	h.Set("Accept", "application/json")
	if r.body != nil {
		h.Set("Content-Type", "application/json")
	}
	if id := r.call.Identity; id.Platform != "" {
		h.Set(originatingHeader, id.Platform+" "+base64.StdEncoding.EncodeToString(id.Value))
	}
	if r.call.RequestID != "" {
		h.Set(requestIdentityHeader, r.call.RequestID)
	}
}

// maxRetryAfter is the longest that a broker can ask to be left alone.
const maxRetryAfter = time.Hour

// retryAfter reads the header of that name: seconds, or a moment (RFC 9110, 10.2.3).
func retryAfter(header string, now time.Time) time.Duration {
	var pause time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		pause = at.Sub(now)
	}
	return min(max(pause, 0), maxRetryAfter)
}

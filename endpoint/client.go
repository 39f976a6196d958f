package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/wait"
)

const (
	// answerLimit is how long a front may take to answer: it writes to disk, and waits for sessions to end.
	answerLimit = 10 * time.Second
	// silenceLimit is how long nobody may answer: one that is just taking over is not there yet.
	silenceLimit = 2 * time.Second
)

// Client tells a front what to do. Every request means the same when it arrives twice, and is sent again when it was
// not answered.
type Client struct{ http *http.Client }

// NewClient returns the client of the front that has that directory.
func NewClient(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", SocketIn(dir))
	}
	return &Client{&http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: answerLimit,
	}}
}

// Status is what the front tells of itself.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, "GET", StatusPath, nil, &s)
}

// Sessions are those that targets serve now, in no order.
func (c *Client) Sessions(ctx context.Context) (list []Session, err error) {
	return list, c.call(ctx, "GET", SessionsPath, nil, &list)
}

// Hold has new connections wait. Sessions go on.
func (c *Client) Hold(ctx context.Context) error { return c.call(ctx, "PUT", HoldPath, nil, nil) }

// Release connects those that wait, and does not have new ones wait any more.
func (c *Client) Release(ctx context.Context) error { return c.call(ctx, "DELETE", HoldPath, nil, nil) }

// Switch says where new connections go: to the one of these that has the fewest sessions. Sessions go on, also those to
// other targets. Without a target all wait.
func (c *Client) Switch(ctx context.Context, targets ...netip.AddrPort) error {
	return c.call(ctx, "PUT", TargetsPath, append([]netip.AddrPort{}, targets...), nil)
}

// Cut ends all sessions to a target, by reset: whoever it is that serves there must not be heard any more. It returns
// when they have ended.
func (c *Client) Cut(ctx context.Context, target netip.AddrPort) error {
	return c.call(ctx, "POST", CutPath, target, nil)
}

func (c *Client) call(ctx context.Context, method, path string, body, result any) error {
	encoded := []byte{}
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request to the front: %w", err)
		}
	}
	patient, cancel := context.WithTimeout(ctx, silenceLimit)
	defer cancel()
	var silence *silenceError
	return wait.Until(patient, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		err = c.try(ctx, method, path, encoded, result)
		return errors.As(err, &silence), err
	})
}

// silenceError is that of a request without an answer.
type silenceError struct{ cause error }

func (e *silenceError) Error() string { return "ask the front: " + e.cause.Error() }
func (e *silenceError) Unwrap() error { return e.cause }

func (c *Client) try(ctx context.Context, method, path string, body []byte, result any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://front"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return &silenceError{err}
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		return refusal(response)
	}
	if result == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(result); err != nil {
		return &silenceError{err}
	}
	return nil
}

// refusal is the front's Problem as an error.
func refusal(response *http.Response) error {
	var p Problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return fmt.Errorf("the front answers %s: %w", response.Status, err)
	}
	return backstay.Errorf(backstay.KindFromString(p.Kind), "%s", cmp.Or(p.Sentence, response.Status))
}

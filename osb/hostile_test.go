package osb_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/osb/osbtest"
)

// says answers with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// breaksOff begins an answer with a status and ends the connection in its middle.
func breaksOff(status string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(status))
		conn.Close()
	}
}

// bomb is an answer that is small as long as nobody unpacks it.
func bomb(w http.ResponseWriter, _ *http.Request) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 8<<20))
	z.Close()
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed.Bytes())
}

func redirects(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// stalls never ends its answer, and writes on and on if it is drip.
func stalls(drip bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else a server does not hear that its client has gone
		w.WriteHeader(http.StatusCreated)
		for r.Context().Err() == nil {
			if drip {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	}
}

var huge = `{"dashboard_url":"` + strings.Repeat("x", 70_000) + `"}`

// The calls that a hostile broker answers.

type call func(context.Context, *osb.Client) error

func provision(ctx context.Context, c *osb.Client) error {
	_, err := c.Provision(ctx, backstay.ProvisionRequest{InstanceID: "i", ServiceID: "s", PlanID: "p"})
	return err
}

func change(ctx context.Context, c *osb.Client) error {
	_, err := c.Update(ctx, backstay.UpdateRequest{InstanceID: "i", ServiceID: "s"})
	return err
}

func deprovision(ctx context.Context, c *osb.Client) error {
	_, err := c.Deprovision(ctx, backstay.DeprovisionRequest{InstanceID: "i", ServiceID: "s", PlanID: "p"})
	return err
}

func bind(ctx context.Context, c *osb.Client) error {
	_, err := c.Bind(ctx, backstay.BindRequest{InstanceID: "i", BindingID: "b", ServiceID: "s", PlanID: "p"})
	return err
}

func unbind(ctx context.Context, c *osb.Client) error {
	_, err := c.Unbind(ctx, backstay.UnbindRequest{InstanceID: "i", BindingID: "b", ServiceID: "s", PlanID: "p"})
	return err
}

func poll(ctx context.Context, c *osb.Client) error {
	_, err := c.LastOperation(ctx, backstay.LastOperationRequest{InstanceID: "i"})
	return err
}

func pollBinding(ctx context.Context, c *osb.Client) error {
	_, err := c.LastBindingOperation(ctx, backstay.LastBindingOperationRequest{InstanceID: "i", BindingID: "b"})
	return err
}

func fetch(ctx context.Context, c *osb.Client) error {
	_, err := c.FetchInstance(ctx, backstay.FetchInstanceRequest{InstanceID: "i"})
	return err
}

func fetchBinding(ctx context.Context, c *osb.Client) error {
	_, err := c.FetchBinding(ctx, backstay.FetchBindingRequest{InstanceID: "i", BindingID: "b"})
	return err
}

func catalog(ctx context.Context, c *osb.Client) error { _, err := c.Catalog(ctx); return err }

const (
	sorry     = `{"description":"out of spoons"}`
	saysSorry = "Service broker error: out of spoons"
	noObject  = "The service broker returned an invalid response: expected valid JSON object in body"
)

// TestHostileBroker is what a broker can do to its platform, and the sentence that users read for each.
func TestHostileBroker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		call     call
		broker   http.HandlerFunc
		kind     backstay.Kind
		sentence string
		orphan   bool
	}{
		// Slow, huge, closing half-way.
		{"says nothing", provision, stalls(false), backstay.Unavailable, "The request to the service broker timed out", true},
		{"drips", bind, stalls(true), backstay.Unavailable, "The request to the service broker timed out", true},
		{"never ends a poll", poll, stalls(true), backstay.Unavailable, "The request to the service broker timed out", false},
		{"huge", provision, says(201, huge), backstay.Unavailable,
			"The service broker returned an invalid response: the answer is too large", true},
		{"huge refusal", provision, says(400, huge), backstay.Unavailable,
			"The service broker returned an invalid response: the answer is too large", true},
		{"huge catalog", catalog, says(200, huge), backstay.Unavailable,
			"The service broker returned an invalid response: the answer is too large", false},
		{"closes at once", provision, breaksOff(""), backstay.Unavailable,
			"The connection to the service broker broke off before it had answered", true},
		{"closes half-way", bind, breaksOff("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"creden"),
			backstay.Unavailable, "The connection to the service broker broke off before it had answered", true},
		{"closes a deprovision", deprovision, breaksOff("HTTP/1.1 20"), backstay.Unavailable,
			"The connection to the service broker broke off before it had answered", false},
		{"speaks something else", provision, breaksOff("220 mail.example.org ESMTP\r\n"), backstay.Unavailable,
			"The connection to the service broker broke off before it had answered", true},
		{"gzip bomb", provision, bomb, backstay.Unavailable, "The service broker returned an invalid response: " +
			"the answer is encoded, though that was not asked for", true},

		// Redirecting.
		{"redirects", provision, redirects, backstay.Unavailable,
			"The service broker returned an invalid response. Status Code: 307 Temporary Redirect, Body: ", true},
		{"redirects for a catalog", catalog, redirects, backstay.Unavailable,
			"The service broker returned an invalid response. Status Code: 307 Temporary Redirect, Body: ", false},

		// What is no JSON, or of other types.
		{"HTML", provision, says(200, "<html>"), backstay.Unavailable, noObject + ", broker returned '<html>'", false},
		{"HTML, created", provision, says(201, "<html>"), backstay.Unavailable,
			noObject + ", broker returned '<html>'", true},
		{"HTML, accepted", provision, says(202, "<html>"), backstay.Unavailable,
			noObject + ", broker returned '<html>'", true},
		{"empty", provision, says(201, ""), backstay.Unavailable, noObject + ", broker returned ''", true},
		{"null", provision, says(201, "null"), backstay.Unavailable, noObject + ", broker returned 'null'", true},
		{"an array", change, says(200, "[]"), backstay.Unavailable, noObject + ", broker returned '[]'", false},
		{"two objects", change, says(200, "{}{}"), backstay.Unavailable, noObject + ", broker returned '{}{}'", false},
		{"a number for an address", provision, says(200, `{"dashboard_url":5}`), backstay.Unavailable,
			`The service broker returned an invalid response: expected "dashboard_url" in body to be of another type than ` +
				`number`, false},
		{"credentials that are none", bind, says(201, `{"credentials":"secret"}`), backstay.Unavailable,
			`The service broker returned an invalid response: expected "credentials" in body to be of another type than ` +
				`string`, true},
		{"half of a secret is not shown", bind, says(201, `{"credentials":{"password":"s3cret"`), backstay.Unavailable,
			noObject, true},
		{"half of a fetched secret is not shown", fetchBinding, says(200, `{"credentials":{"password":"s3cret"`),
			backstay.Unavailable, noObject, false},
		{"volume mounts that are none", bind, says(201, `{"volume_mounts":"invalid"}`), backstay.Unavailable,
			`The service broker returned an invalid response: expected "volume_mounts" key to contain an array of JSON ` +
				`objects in body`, true},
		{"an operation's key that is too long", provision, says(202, `{"operation":"`+strings.Repeat("k", 10_001)+`"}`),
			backstay.Unavailable,
			`The service broker returned an invalid response: expected "operation" in body to be no longer than 10000 bytes`,
			true},
		{"a state that is none", poll, says(200, `{"state":"nearly"}`), backstay.Unavailable,
			"The service broker returned an invalid response: expected state was 'succeeded', broker returned 'nearly'.", false},
		{"no state", pollBinding, says(200, `{}`), backstay.Unavailable,
			"The service broker returned an invalid response: expected state was 'succeeded', broker returned ''.", false},
		{"parameters that are none", fetch, says(200, `{"parameters":[1]}`), backstay.Unavailable,
			`The service broker returned an invalid response: expected "parameters" in body to be an object`, false},
		{"a catalog of other types", catalog, says(200, `{"services":[{"id":7}]}`), backstay.Unavailable,
			`The service broker returned an invalid response: expected "services.id" in body to be of another type than ` +
				`number`, false},
		{"control characters", provision, says(500, "{\"description\":\"\\u001b[31mred\\u0000\\u202e\"}"), backstay.Unavailable,
			"Service broker error: [31mred", true},
		{"words without end", provision, says(500, `{"description":"`+strings.Repeat("w", 20_000)+`"}`), backstay.Unavailable,
			"Service broker error: " + strings.Repeat("w", 8<<10) +
				"...This message has been truncated due to size. To read the full message, check the broker's logs", true},

		// The table of orphans (OSB 2.17, "Orphan Mitigation").
		{"204", provision, says(204, ""), backstay.Unavailable,
			"The service broker returned an invalid response. Status Code: 204 No Content, Body: ", true},
		{"203 with credentials", bind, says(203, `{"credentials":{"password":"s3cret"}}`), backstay.Unavailable,
			"The service broker returned an invalid response. Status Code: 203 Non-Authoritative Information", true},
		{"400", provision, says(400, sorry), backstay.Invalid, saysSorry, false},
		{"400 without a word", provision, says(400, "no"), backstay.Invalid,
			"The service broker rejected the request. Status Code: 400 Bad Request, Body: no", false},
		{"401", provision, says(401, sorry), backstay.Unavailable, "Authentication with the service broker failed. " +
			"Double-check that the username and password are correct.", false},
		{"403", bind, says(403, ""), backstay.Unavailable,
			"The service broker rejected the request. Status Code: 403 Forbidden, Body: ", false},
		{"404", provision, says(404, sorry), backstay.Unavailable, saysSorry, false},
		{"408", provision, says(408, sorry), backstay.Unavailable, "The request to the service broker timed out", false},
		{"409", provision, says(409, sorry), backstay.Taken, saysSorry, false},
		{"409 without a word", bind, says(409, "{}"), backstay.Taken, "Resource conflict", false},
		{"412", provision, says(412, sorry), backstay.Unavailable, saysSorry, false},
		{"429", bind, says(429, sorry), backstay.Unavailable, saysSorry, false},
		{"500", provision, says(500, sorry), backstay.Unavailable, saysSorry, true},
		{"503", bind, says(503, "down"), backstay.Unavailable,
			"The service broker returned an invalid response. Status Code: 503 Service Unavailable, Body: down", true},
		{"500 to an update", change, says(500, sorry), backstay.Unavailable, saysSorry, false},

		// The codes (OSB 2.17, "Service Broker Errors").
		{"AsyncRequired", provision, says(422, `{"error":"AsyncRequired"}`), backstay.Unsupported,
			"This service plan requires client support for asynchronous service operations.", false},
		{"ConcurrencyError", change, says(422, `{"error":"ConcurrencyError"}`), backstay.Busy,
			"The service broker could not perform this operation in parallel with other running operations", false},
		{"RequiresApp", bind, says(422, `{"error":"RequiresApp"}`), backstay.Invalid,
			"This service supports generation of credentials through binding an application only.", false},
		{"MaintenanceInfoConflict", change, says(422, `{"error":"MaintenanceInfoConflict"}`), backstay.Invalid,
			"The service broker did not provide a reason for this conflict, please ensure the catalog is up to date and you " +
				"are providing a version supported by this service plan", false},
		{"MaintenanceInfoConflict with a word", change, says(422, `{"error":"MaintenanceInfoConflict","description":"old"}`),
			backstay.Invalid, "Service broker error: old", false},
		{"422", change, says(422, sorry), backstay.Unsupported, saysSorry, false},

		// What is gone, and what only seems so.
		{"a deprovision is gone", deprovision, says(410, "{}"), backstay.NotFound, "", false},
		{"a deprovision is not found", deprovision, says(404, "nginx"), backstay.Unavailable,
			"The service broker rejected the request. Status Code: 404 Not Found, Body: nginx", false},
		{"an unbind is gone", unbind, says(410, "{}"), backstay.NotFound, "", false},
		{"an unbind is not found", unbind, says(404, "nginx"), backstay.Unavailable,
			"The service broker rejected the request. Status Code: 404 Not Found, Body: nginx", false},
		{"a poll is gone", poll, says(410, "{}"), backstay.NotFound, "", false},
		{"a poll is not found", pollBinding, says(404, "{}"), backstay.Unavailable,
			"The service broker rejected the request. Status Code: 404 Not Found, Body: {}", false},
		{"a fetch is not found", fetch, says(404, sorry), backstay.NotFound, saysSorry, false},
		{"a binding's fetch is not found", fetchBinding, says(404, sorry), backstay.NotFound, saysSorry, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/v2/", c.broker)
			mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
			client := osbtest.Ask(t, httptest.NewServer(mux))
			client.MaxAnswer, client.Timeout = 64*backstay.KB, 30*time.Second
			if strings.Contains(c.sentence, "timed out") {
				client.Timeout = 500 * time.Millisecond
			}
			err := c.call(t.Context(), client)
			if err == nil || backstay.KindOf(err) != c.kind {
				t.Fatalf("%v is %v; want %v", err, backstay.KindOf(err), c.kind)
			}
			if got := backstay.SentenceOf(err); got != c.sentence && c.sentence != "" {
				t.Errorf("the sentence is\n%s; want\n%s", got, c.sentence)
			}
			if got := backstay.FailureOf(err).Orphan; got != c.orphan {
				t.Errorf("an orphan may be left: %t; want %t", got, c.orphan)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

// TestBrokerThatIsNotThere is nobody who listens, and somebody whom nobody vouches for: no orphan can be left.
func TestBrokerThatIsNotThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	stranger := httptest.NewTLSServer(says(200, "{}"))
	t.Cleanup(stranger.Close)
	for name, address := range map[string]string{"nobody": "http://" + l.Addr().String(), "a stranger": stranger.URL} {
		c := &osb.Client{URL: address}
		t.Cleanup(c.Close)
		err := provision(t.Context(), c)
		if backstay.KindOf(err) != backstay.Unavailable || backstay.FailureOf(err).Orphan ||
			backstay.SentenceOf(err) != "The service broker could not be reached" {
			t.Errorf("%s: %v, %+v", name, err, backstay.FailureOf(err))
		}
	}
}

// TestNobodyWaits sees that a platform which waits no longer does not blame the broker.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	client := osbtest.Ask(t, httptest.NewServer(stalls(false)))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := provision(ctx, client)
	if err == nil || backstay.KindOf(err) != backstay.Internal || backstay.FailureOf(err).Orphan {
		t.Errorf("%v is %v, %+v", err, backstay.KindOf(err), backstay.FailureOf(err))
	}
}

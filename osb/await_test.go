package osb_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/osb/osbtest"
)

// inTurn answers one request after another, and the last of all for ever.
func inTurn(answers ...http.HandlerFunc) http.HandlerFunc {
	turns := make(chan http.HandlerFunc, len(answers))
	for _, a := range answers {
		turns <- a
	}
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case a := <-turns:
			a(w, r)
		default:
			answers[len(answers)-1](w, r)
		}
	}
}

const going = `{"state":"in progress","description":"half"}`

// TestPollingGoesOn over everything that is no answer, until there is one, or until the broker insists that what was
// asked for is gone.
func TestPollingGoesOn(t *testing.T) {
	t.Parallel()
	gone := says(410, "{}")
	for _, c := range []struct {
		name   string
		of     backstay.OperationType
		broker http.HandlerFunc
		state  backstay.OperationState
		kind   backstay.Kind
	}{
		{"at once", backstay.Create, says(200, `{"state":"succeeded"}`), backstay.Succeeded, 0},
		{"over failures", backstay.Create, inTurn(says(503, "down"), says(400, "{}"), says(404, "nginx"), says(200, "<html>"),
			says(200, `{"state":"nearly"}`), breaksOff("HTTP/1.1 20"), says(401, "{}"), says(200, going),
			says(200, `{"state":"failed","description":"no"}`)), backstay.Failed, 0},
		{"gone once", backstay.Update, inTurn(gone, gone, says(200, going), gone, gone, says(200, `{"state":"succeeded"}`)),
			backstay.Succeeded, 0},
		{"gone for good", backstay.Create, gone, "", backstay.NotFound},
		{"a delete is gone", backstay.Delete, inTurn(gone, says(200, `{"state":"failed"}`)), "", backstay.NotFound},
		{"told of otherwise", backstay.Create, inTurn(says(200, going),
			says(200, `{"state":"in progress","description":"nearly"}`)), backstay.InProgress, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := osbtest.Ask(t, httptest.NewServer(c.broker))
			client.FirstPause = time.Millisecond
			seen := backstay.Operation{Type: c.of, State: backstay.InProgress, Description: "half"}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			op, err := client.AwaitOperation(ctx, backstay.LastOperationRequest{InstanceID: "i"}, seen)
			if op.State != c.state || backstay.KindOf(err) != c.kind {
				t.Errorf("it is %+v, %v; want %q", op, err, c.state)
			}
		})
	}
}

// TestPollingWaits as long as the broker wants: of the answer before, and of one that is a failure; and no longer than
// whoever waits.
func TestPollingWaits(t *testing.T) {
	t.Parallel()
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		says(503, "busy")(w, r)
	}
	client := osbtest.Ask(t, httptest.NewServer(inTurn(busy, says(200, `{"state":"succeeded"}`))))
	client.FirstPause = time.Millisecond
	ask := backstay.LastBindingOperationRequest{InstanceID: "i", BindingID: "b"}
	begun := time.Now()
	op, err := client.AwaitBindingOperation(t.Context(), ask, backstay.Operation{
		State: backstay.InProgress, RetryAfter: time.Second,
	})
	if took := time.Since(begun); err != nil || op.State != backstay.Succeeded || took < 2*time.Second {
		t.Errorf("after %s it is %+v, %v; want two seconds", took, op, err)
	}
	patience, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = client.AwaitBindingOperation(patience, ask, backstay.Operation{RetryAfter: time.Hour})
	if patience.Err() == nil || err == nil || backstay.KindOf(err) != backstay.Internal {
		t.Errorf("whoever waits no longer hears %v", err)
	}
}

// TestTooManyRequests are asked again when the broker wants them.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	full := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		says(429, "{}")(w, r)
	})
	client := osbtest.Ask(t, httptest.NewServer(inTurn(full, full, says(201, "{}"))))
	if err := provision(t.Context(), client); err != nil {
		t.Error(err)
	}
	client = osbtest.Ask(t, httptest.NewServer(full))
	client.Timeout = 900 * time.Millisecond // less than the broker wants
	if err := provision(t.Context(), client); backstay.KindOf(err) != backstay.Unavailable ||
		backstay.FailureOf(err).Orphan {
		t.Errorf("one that is never heard: %v", err)
	}
}

package tenant_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// try asks for the catalog in a name, and returns the status and how long is to be waited.
func (h *house) try(t *testing.T, name string, password backstay.Secret) (status int, wait time.Duration) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.door.URL+"/v2/catalog", nil)
	must(t, err)
	r.SetBasicAuth(name, password.Reveal())
	r.Header.Set("X-Broker-API-Version", "2.17")
	answer, err := h.door.Client().Do(r)
	must(t, err)
	answer.Body.Close()
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	return answer.StatusCode, time.Duration(seconds) * time.Second
}

// failures are the failed logins in the audit trail.
func (h *house) failures(t *testing.T) []backstay.Event {
	t.Helper()
	all, err := h.store.Events(t.Context(), market.EventFilter{Types: []string{"audit.osb_client.login_failed"}})
	must(t, err)
	return all.Items
}

// TestGuessing gets slower, also for a client that is none, and each guess that is heard is recorded. Whoever has the
// right password is not kept out by it.
func TestGuessing(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"platform", "nobody"} {
		h := newHouse(t)
		now := time.Now()
		h.Now = func() time.Time { return now }
		right, err := h.Create(t.Context(), backstay.Actor{}, "platform", 1)
		must(t, err)
		for n := range 5 {
			if status, wait := h.try(t, who, "wrong"); status != http.StatusUnauthorized || wait != 0 {
				t.Errorf("%s: guess %d is answered with %d, to wait for %s", who, n+1, status, wait)
			}
		}
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			for range 3 { // what is not heard makes nothing longer
				if status, wait := h.try(t, who, "wrong"); status != http.StatusUnauthorized || wait != want {
					t.Errorf("%s: one too many is answered with %d, to wait for %s; want %s", who, status, wait, want)
				}
			}
			if status, _ := h.try(t, "platform", right); status != http.StatusOK {
				t.Errorf("%s: the right password is answered with %d", who, status)
			}
			now = now.Add(want)
			h.try(t, who, "wrong")
		}
		events := h.failures(t)
		if len(events) != 8 {
			t.Errorf("%s: %d failures are recorded; want 8", who, len(events))
		}
		for _, e := range events {
			known := e.Target.Name == "platform" && e.Actor.Username == "osb-client platform"
			if known != (who == "platform") || e.Actor.Address != "192.0.2.1" || strings.Contains(string(e.Data), "wrong") {
				t.Errorf("%s: recorded is %+v", who, e)
			}
		}
	}
}

// TestFailuresAreForgotten, some time after the last one.
func TestFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	now := time.Now()
	keys := []string{"a", "b"}
	must(t, h.Store.AddFailure(t.Context(), keys[:1], now.Add(-2*time.Hour), now.Add(-3*time.Hour), backstay.Event{}))
	must(t, h.Store.AddFailure(t.Context(), keys[1:], now, now.Add(-time.Hour), backstay.Event{}))
	must(t, h.Store.ForgetFailures(t.Context(), now.Add(-time.Hour)))
	left, err := h.Store.Failures(t.Context(), keys)
	if err != nil || len(left) != 1 || left[0].Key != "b" || left[0].Count != 1 {
		t.Errorf("left is %+v, %v", left, err)
	}
}

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestInFront has the door of the Open Service Broker API answer all that is below its path, whatever ids there are, and
// nothing else.
func TestInFront(t *testing.T) {
	t.Parallel()
	says := func(who string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Who", who) })
	}
	rest := http.NewServeMux()
	rest.Handle("/", says("rest"))
	h := inFront("/osb/v2/", says("door"), rest)
	for path, want := range map[string]string{
		"/osb/v2/catalog": "door", "/osb/v2/service_instances/..": "door", "/osb/v2/service_instances/%2E%2E": "door",
		"/osb/v2/service_instances//service_bindings/b": "door", "/osb": "rest", "/v2/catalog": "rest", "/v3/jobs": "rest",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if got := w.Header().Get("Who"); got != want || w.Code != http.StatusOK {
			t.Errorf("%s is answered by %q with %d; want %q", path, got, w.Code, want)
		}
	}
}

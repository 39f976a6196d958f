package cfapi

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/broker/brokertest"
)

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
	w := httptest.NewRecorder()
	s.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("hunter2") })).ServeHTTP(w, httptest.NewRequest("GET", "/v3/apps", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if id := w.Header().Get(requestIDHeader); !strings.Contains(log.String(), "request="+id) || !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("request %s was logged as %s", id, &log)
	}
}

func TestLinksDoNotFollowTheHost(t *testing.T) {
	t.Parallel()
	s := &Server{URL: "https://api.example.org", Log: slog.New(slog.DiscardHandler)}
	r := httptest.NewRequest("GET", "http://evil.example.com/", nil)
	r.Header.Set("X-Forwarded-Host", "evil.example.com")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "evil") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestPathsThatAreNoText(t *testing.T) {
	t.Parallel()
	s := &Server{Log: slog.New(slog.DiscardHandler)}
	for _, path := range []string{"/v3/apps/%00", "/v3/apps/%ff", "/%00"} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: answered %d", path, w.Code)
		}
	}
}

// FuzzRoutes asks every route whatever comes: the answer may be a refusal, never a failure.
func FuzzRoutes(f *testing.F) {
	s := newServer(f, brokertest.NewMemory())
	s.Log = slog.New(slog.DiscardHandler)
	handler, routes := s.Handler(), s.routes()
	for i, rt := range routes {
		f.Add(uint(i), "none", strings.Join(rt.params.names, "=%252C,a&")+"=1", `{"name": "a"}`)
	}
	const everything = `{"type": "key", "name": "\u00e9", "tags": ["a", "\\u0000"], "parameters": {"a": [1e999]},
		"relationships": {"service_instance": {"data": {"guid": "x"}}}}`
	f.Add(uint(0), "%2e%2e", "page=2147483647&per_page=5000", everything)
	f.Add(uint(1), "\x00", "names=%2500&order_by=-updated_at", strings.Repeat(`{"var":`, 20000))
	f.Fuzz(func(t *testing.T, number uint, guid, query, body string) {
		rt := routes[number%uint(len(routes))]
		words := strings.Fields(rt.pattern)
		r := httptest.NewRequest(words[0], "/", strings.NewReader(body))
		r.URL.Path = strings.NewReplacer("{$}", "", "{guid}", guid, "{name}", guid).Replace(words[1])
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "bearer admin")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %s ? %q %q: %d %s", words[0], r.URL.Path, query, body, w.Code, w.Body)
		}
	})
}

const apiDocument = "../docs/api.md"

// TestDocument keeps docs/api.md the table of routes.
func TestDocument(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	writeDocument(&want, (&Server{}).routes())
	if *update {
		if err := os.WriteFile(apiDocument, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(apiDocument)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the routes are: run go test ./cfapi -update", apiDocument)
	}
}

func writeDocument(w io.Writer, routes []route) {
	fmt.Fprint(w, `# The Cloud Foundry API that Backstay answers

Written by a test from the table in cfapi/route.go. Requests and answers are shown in
cfapi/testdata, one conversation per file.

| route | for | query |
|---|---|---|
`)
	for _, rt := range routes {
		words := strings.Fields(strings.Replace(rt.pattern, "{$}", "", 1))
		names := slices.Clone(rt.params.names)
		for i, name := range names {
			if name == "include" {
				name += "=" + strings.Join(rt.params.include, ",")
			}
			names[i] = "`" + name + "`"
		}
		fmt.Fprintf(w, "| `%s %s` | %s | %s |\n", words[0], words[1], rt.access, strings.Join(names, " "))
	}
}

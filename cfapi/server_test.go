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

	"github.com/backstay/backstay/market"
)

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
	w := httptest.NewRecorder()
	s.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("hunter2") })).
		ServeHTTP(w, httptest.NewRequest("GET", "/v3/apps", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if id := w.Header().
		Get(requestIDHeader); !strings.Contains(log.String(), "request="+id) ||
		!strings.Contains(log.String(), "server_test.go") {
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

// FuzzRoutes asks every route whatever comes, as everybody: the answer may be a refusal, never a failure.
func FuzzRoutes(f *testing.F) {
	h := newHouse(f)
	routes, roles := h.server.routes(), append((^market.Roles(0)).Names(), "stranger")
	names := fillable(h.scene(f, ""), roles)
	for i, rt := range routes {
		how := recipes[rt.pattern]
		f.Add(uint(i), uint(0), "<app>", strings.Join(rt.params.names, "=%252C,a&")+"=1", `{"name": "a"}`)
		f.Add(
			uint(i),
			uint(i),
			how.guid,
			how.ask+"&created_ats[gt]=2026-01-01T00:00:00Z&label_selector=a in (b,c),!d&include="+strings.Join(
				rt.params.include, ",",
			),
			how.ask,
		)
		f.Add(
			uint(i),
			uint(6),
			how.guid,
			"",
			strings.Replace(how.ask, "{",
				`{"metadata": {"labels": {"a": null, "b.c/d": "e"}, "annotations": {"f": "\u00e9\\u0000"}}, `, 1),
		)
	}
	const everything = `{"type": "key", "name": "\u00e9", "tags": ["a", "\\u0000"], "parameters": {"a": [1e999]},
		"relationships": {"service_instance": {"data": {"guid": "<instance>"}}}}`
	f.Add(uint(0), uint(0), "%2e%2e", "page=2147483647&per_page=5000", everything)
	f.Add(uint(1), uint(0), "\x00", "names=%2500&order_by=-updated_at", strings.Repeat(`{"var":`, 20000))
	f.Fuzz(func(t *testing.T, number, who uint, guid, query, body string) {
		rt := routes[number%uint(len(routes))]
		words := strings.Fields(rt.pattern)
		r := httptest.NewRequest(words[0], "/", strings.NewReader(names.Replace(body)))
		r.URL.Path = names.Replace(strings.NewReplacer("{$}", "", "{guid}", guid, "{name}", guid).Replace(words[1]))
		r.URL.RawQuery = names.Replace(query)
		r.Header.Set("Authorization", "bearer "+roles[who%uint(len(roles))])
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %s ? %q %q: %d %s", words[0], r.URL.Path, query, body, w.Code, w.Body)
		}
	})
}

// fillable makes one of all things, in which these roles are held, and fills their ids in.
func fillable(s *scene, roles []string) *strings.Replacer {
	var pairs []string
	for _, name := range slices.Concat(things, []string{"<member>", "<auditor>", "<plan>", "<offering>"}) {
		pairs = append(pairs, name, s.thing(name))
	}
	for _, role := range roles {
		if market.RolesOf(role)&^market.GlobalReaders != 0 {
			s.grant(role, role)
		}
	}
	return strings.NewReplacer(pairs...)
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
cfapi/testdata, one conversation per file. Times are filtered by one in brackets, too: created_ats[gt], [gte], [lt], [lte].

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

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"
)

// opensearchVariable names a directory in which scripts/other-search has put OpenSearch, and clients.
const opensearchVariable = "BACKSTAY_TEST_OPENSEARCH"

// searchPatience is how long anything of OpenSearch may take: its Java machine alone takes ten seconds of a processor.
const searchPatience = 5 * time.Minute

// opensearchFlags are the settings of serve for a script that begins with "# needs opensearch", which is skipped where
// there is none.
func opensearchFlags(t *testing.T, script string) []string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# needs opensearch\n") {
		return nil
	}
	return needOpenSearch(t)
}

// opensearchBreed is that of instances of Elasticsearch, which not every machine has.
func opensearchBreed(t testing.TB) breed {
	return breed{name: "elasticsearch", offering: "elasticsearch", plan: "tiny", larger: "small", largest: "medium",
		settings: []string{`{"settings":{"search.max_buckets":1000}}`, `{"settings":{"search.max_buckets":2000}}`},
		flags:    needOpenSearch(t), open: openOpenSearch, patience: searchPatience}
}

func needOpenSearch(t testing.TB) (flags []string) {
	t.Helper()
	dir := os.Getenv(opensearchVariable)
	if dir == "" {
		t.Skipf("%s names no directory with OpenSearch: make test-other does", opensearchVariable)
	}
	return []string{"--opensearch", dir}
}

// TestCrashOpenSearch is TestCrash with Elasticsearch: both processes die behind steps in which the engine is at work.
func TestCrashOpenSearch(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	crashBoth(t, opensearchBreed(t))
}

// opensearchSession is a client with one connection, on which each request says who it is of.
type opensearchSession struct {
	uri    string
	client *http.Client
}

func openOpenSearch(ctx context.Context, credentials map[string]any) (session, error) {
	s := opensearchSession{credentials["uri"].(string), &http.Client{
		Transport: &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: trusting(credentials)}}}
	if _, err := s.Identity(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ask sends a request, and returns the client's end of the connection by which it went.
func (s opensearchSession) ask(ctx context.Context, method, path, body string) (by string, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { by = got.Conn.LocalAddr().String() }})
	r, err := http.NewRequestWithContext(ctx, method, s.uri+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return by, err
}

func (s opensearchSession) Identity(ctx context.Context) (string, error) {
	return s.ask(ctx, http.MethodGet, "/", "")
}

func (s opensearchSession) Keep(ctx context.Context) error {
	_, err := s.ask(ctx, http.MethodPut, "/kept/_doc/1", `{"n": 1}`)
	return err
}

func (s opensearchSession) Kept(ctx context.Context) error {
	_, err := s.ask(ctx, http.MethodGet, "/kept/_doc/1", "")
	return err
}

func (s opensearchSession) Toil(context.Context) error { return errNoToil }

func (s opensearchSession) Toils(context.Context) (bool, error) { return false, errNoToil }

func (s opensearchSession) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

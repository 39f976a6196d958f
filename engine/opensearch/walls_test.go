package opensearch_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/pki"
)

// request is one of a tenant's.
type request struct{ method, path, body string }

// wantRefused wants requests not to be let through, and nothing of the node's directories to be told. Of what a request
// names beside the security plugin's index, which it is asked without, there may be nothing.
func wantRefused(t *testing.T, n engine.Node, who string, s session, all []request) {
	t.Helper()
	for _, r := range all {
		text, err := s.ask(t.Context(), r.method, r.path, r.body)
		if got := status(err); !slices.Contains(refusals, got) {
			t.Errorf("%s: %s %s %s: %d %.300s %v", who, r.method, r.path, r.body, got, text, err)
		}
		if err != nil && strings.Contains(err.Error(), filepath.Dir(n.DataDir)) {
			t.Errorf("%s: %s %s tells of the node's directories: %v", who, r.method, r.path, err)
		}
	}
}

var refusals = []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound}

func TestWalls(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	const hash = `{"hash": "$2a$04$7EqJtq98hPqEX7fNZaFWoOhi5BWX4kYFq1hcxkLQ8fUZ0m1b6c6yK"}`
	walls := []request{
		{"PUT", "/_plugins/_security/api/internalusers/evil", hash},
		{"GET", "/_plugins/_security/api/internalusers", ""},
		{"PUT", "/%5Fplugins/_security/api/internalusers/evil", hash},
		{"PUT", "//_plugins//_security/api/roles/evil", `{}`},
		{"PUT", "/_opendistro/_security/api/internalusers/evil", hash},
		{"DELETE", "/_plugins/_security/api/internalusers/r1", ""},
		{"PUT", "/_plugins/_security/api/account",
			`{"current_password": "correcthorsebatterystaple", "password": "other"}`},
		{"PATCH", "/_plugins/_security/api/internalusers", `[{"op": "remove", "path": "/r1"}]`},
		{"PUT", "/_plugins/_security/api/rolesmapping/all_access", `{"users": ["u1"]}`},
		{"DELETE", "/_plugins/_security/api/cache", ""},

		{"GET", "/.opendistro_security/_doc/internalusers", ""},
		{"GET", "/.opendistro*/_doc/internalusers", ""}, {"PUT", "/.opendistro_security/_doc/internalusers", `{}`},
		{"POST", "/.opendistro_security/_update/internalusers", `{"doc": {"internalusers": ""}}`},
		{"DELETE", "/.opendistro_security", ""}, {"POST", "/.opendistro_security/_close", ""},
		{"PUT", "/.opendistro_security/_settings", `{"index.blocks.read_only": true}`},
		{"POST", "/_reindex", `{"source": {"index": ".opendistro_security"}, "dest": {"index": "stolen"}}`},
		{"PUT", "/.opendistro_security/_clone/stolen", ""},
		{"POST", "/_aliases", `{"actions": [{"add": {"index": ".opendistro_security", "alias": "stolen"}}]}`},
		{"POST", "/_reindex",
			`{"source": {"remote": {"host": "http://127.0.0.1:9200"}, "index": "x"}, "dest": {"index": "stolen"}}`},

		{"PUT", "/_snapshot/mine", `{"type": "fs", "settings": {"location": "/tmp"}}`}, {"GET", "/_snapshot", ""},
		{"PUT", "/_snapshot/mine", `{"type": "url", "settings": {"url": "http://127.0.0.1/"}}`},
		{"PUT", "/_cluster/settings", `{"persistent": {"cluster.blocks.read_only": true}}`},
		{"POST", "/_cluster/reroute", ""}, {"GET", "/_nodes", ""}, {"GET", "/_nodes/stats", ""},
		{"GET", "/_nodes/hot_threads", ""}, {"POST", "/_nodes/reload_secure_settings", `{}`},
		{"PUT", "/_ingest/pipeline/x", `{"processors": []}`},
		{"POST", "/_cluster/voting_config_exclusions?node_names=x", ""},
	}
	wantRefused(t, n, "a user", writer, walls)
	wantRefused(t, n, "a reader", reader, walls)
	wantRefused(t, n, "a user past the front", pastTheFront(t, n, writer), walls)
	for _, s := range []session{writer, reader} {
		for _, path := range []string{"/_search", "/.*/_search", "/_all/_search", "/.opendistro_security/_search"} {
			text, err := s.ask(t.Context(), http.MethodGet, path, "")
			if err == nil && !strings.Contains(text, `"hits":[]`) {
				t.Errorf("GET %s finds what the security plugin keeps: %.300s", path, text)
			}
		}
	}
	wantIndices(t, writer, "")
	if err := tested.Probe(t.Context(), n); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if err := writer.Set(t.Context(), "k", "v"); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// pastTheFront is the client where only processes of this machine come, with what the front proves itself by there.
func pastTheFront(t *testing.T, n engine.Node, s session) session {
	t.Helper()
	own, err := tls.LoadX509KeyPair(filepath.Join(n.DataDir, "config", "node.crt"),
		filepath.Join(n.DataDir, "config", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	return atTheServer(t, n, s, own)
}

func atTheServer(t *testing.T, n engine.Node, s session, own ...tls.Certificate) session {
	t.Helper()
	address, err := os.ReadFile(filepath.Join(n.RunDir, "logs", "http.ports"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(n.DataDir, "node-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	uri := *s.uri
	uri.Host, _, _ = strings.Cut(string(address), "\n")
	past := newSession(&uri, string(authority), &tls.Config{ServerName: "node", Certificates: own})
	t.Cleanup(func() { past.Close() })
	return past
}

// TestOnlyTheFrontComesIn has other processes of the machine come to where the server listens, with a name and password
// that are good: whoever has nothing else is not heard, past the front's limits.
func TestOnlyTheFrontComesIn(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	if _, err := pastTheFront(t, n, writer).ask(t.Context(), http.MethodGet, "/", ""); err != nil {
		t.Errorf("the front is refused: %v", err)
	}
	stranger, err := pki.NewLink("node", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := tls.X509KeyPair([]byte(stranger.Leaf), []byte(stranger.Key.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	for who, own := range map[string][]tls.Certificate{"nothing": nil, "a certificate of its own": {foreign}} {
		text, err := atTheServer(t, n, writer, own...).ask(t.Context(), http.MethodGet, "/", "")
		if answered := new(refusal); err == nil || errors.As(err, answered) {
			t.Errorf("a process with %s is answered: %s (%v)", who, text, err)
		}
	}
}

// TestFilesAreNotRead has the server read lists of words for an analyzer, which users may choose: it reads nothing from
// which anything could be learned that is a secret.
func TestFilesAreNotRead(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	if err := writer.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/etc/passwd", filepath.Join(n.DataDir, "operator.pem"), filepath.Join(n.DataDir, "server.key"),
		filepath.Join(n.DataDir, "config", "node.key"), filepath.Join(n.RunDir, "config", "node.key"), n.LogFile,
	} {
		text, err := writer.ask(t.Context(), http.MethodPost, "/keys/_analyze",
			`{"tokenizer": "standard", "text": "words", "filter": [{"type": "stop", "stopwords_path": "`+path+`"}]}`)
		if err == nil {
			t.Errorf("%s is read: %s", path, text)
		}
	}
}

// TestReadersChangeNothing tries each way to change something.
func TestReadersChangeNothing(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	if err := writer.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, n, "a reader", reader, []request{
		{"PUT", "/keys/_doc/k", `{"v": "w"}`}, {"PUT", "/keys/_create/l", `{"v": "w"}`},
		{"POST", "/keys/_doc", `{"v": "w"}`},
		{"PUT", "/other/_doc/k", `{"v": "w"}`}, {"POST", "/keys/_update/k", `{"doc": {"v": "w"}}`},
		{"DELETE", "/keys/_doc/k", ""}, {"POST", "/keys/_delete_by_query", `{"query": {"match_all": {}}}`},
		{"POST", "/keys/_update_by_query", `{"script": {"lang": "painless", "source": "ctx._source.v = 'w'"}}`},
		{"POST", "/_reindex", `{"source": {"index": "keys"}, "dest": {"index": "other"}}`}, {"PUT", "/other", `{}`},
		{"DELETE", "/keys", ""}, {"PUT", "/keys/_mapping", `{"properties": {"w": {"type": "keyword"}}}`},
		{"PUT", "/keys/_settings", `{"index.refresh_interval": "10s"}`}, {"POST", "/keys/_close", ""},
		{"POST", "/_aliases", `{"actions": [{"add": {"index": "keys", "alias": "other"}}]}`},
		{"PUT", "/_index_template/t", `{"index_patterns": ["x*"]}`},
		{"PUT", "/_template/t", `{"index_patterns": ["x*"]}`},
		{"PUT", "/_component_template/t", `{"template": {}}`}, {"PUT", "/keys/_block/write", ""},
		{"PUT", "/_scripts/s", `{"script": {"lang": "painless", "source": "1"}}`}, {"POST", "/keys/_forcemerge", ""},
		{"POST", "/keys/_rollover", `{}`}, {"PUT", "/keys/_clone/other", ""}, {"POST", "/keys/_flush", ""},
	})
	text, err := reader.ask(t.Context(), http.MethodPost, "/_bulk",
		`{"index": {"_index": "keys", "_id": "k"}}`+"\n"+`{"v": "w"}`+"\n"+
			`{"delete": {"_index": "keys", "_id": "k"}}`+"\n")
	if err == nil && (strings.Contains(text, `"status":20`) || !strings.Contains(text, `"errors":true`)) {
		t.Errorf("a reader writes in bulk: %s", text)
	}
	if got, err := reader.Get(t.Context(), "k"); got != "v" || err != nil {
		t.Errorf("a reader finds %q (%v)", got, err)
	}
	wantIndices(t, writer, "keys")
}

// wantIndices wants there to be these indices and no others of users: that there is the plugin's is no secret.
func wantIndices(t *testing.T, s session, want string) {
	t.Helper()
	text, err := s.ask(t.Context(), http.MethodGet, "/_cat/indices?h=index", "")
	if got := strings.TrimSpace(strings.ReplaceAll(text, ".opendistro_security", "")); err != nil || got != want {
		t.Errorf("there are %q (%v), want %q", got, err, want)
	}
}

// TestTenants does what apps do, of which much is asked of all indices or of the cluster.
func TestTenants(t *testing.T) {
	t.Parallel()
	_, writer, reader := serving(t)
	for who, s := range map[string]session{"a user": writer, "a reader": reader} {
		for _, path := range []string{"/", "/_search", "/_cat/indices", "/_mapping", "/_cluster/health"} {
			if _, err := s.ask(t.Context(), http.MethodGet, path, ""); err != nil {
				t.Errorf("%s, where nothing is kept: GET %s: %v", who, path, err)
			}
		}
	}
	for _, r := range []request{
		{"PUT", "/_index_template/t",
			`{"index_patterns": ["log-*"], "template": {"settings": {"number_of_shards": 1}}}`},
		{"PUT", "/log-1", `{"mappings": {"properties": {"text": {"type": "text", "analyzer": "english"}}}}`},
		{"POST", "/_bulk?refresh=true", `{"index": {"_index": "log-1"}}` + "\n" + `{"text": "monsters"}` + "\n"},
		{"POST", "/_reindex?refresh=true", `{"source": {"index": "log-1"}, "dest": {"index": "log-2"}}`},
		{"POST", "/log-2/_update_by_query?refresh=true",
			`{"script": {"lang": "painless", "source": "ctx._source.n = 1"}}`},
		{"POST", "/_aliases", `{"actions": [{"add": {"index": "log-*", "alias": "logs"}}]}`},
		{"POST", "/log-1/_analyze", `{"text": "monsters"}`}, {"POST", "/_refresh", ""}, {"GET", "/_mapping", ""},
		{"PUT", "/_scripts/s", `{"script": {"lang": "painless", "source": "1"}}`}, {"POST", "/log-1/_forcemerge", ""},
		{"POST", "/log-2/_delete_by_query", `{"query": {"match_all": {}}}`}, {"DELETE", "/log-2", ""},
	} {
		if _, err := writer.ask(t.Context(), r.method, r.path, r.body); err != nil {
			t.Errorf("%s %s: %v", r.method, r.path, err)
		}
	}
	for _, path := range []string{
		"/", "/_cluster/health", "/_cat/indices", "/_cat/health", "/_cat/count", "/_stats", "/_mapping", "/_alias",
		"/_search", "/logs/_count", "/logs/_search?scroll=1m", "/log-1/_settings", "/_resolve/index/*",
		"/_field_caps?fields=*",
	} {
		for who, s := range map[string]session{"a user": writer, "a reader": reader} {
			if _, err := s.ask(t.Context(), http.MethodGet, path, ""); err != nil {
				t.Errorf("%s: GET %s: %v", who, path, err)
			}
		}
	}
	text, err := writer.ask(t.Context(), http.MethodGet, "/_cluster/health", "")
	if err != nil || !strings.Contains(text, `"status":"green"`) {
		t.Errorf("%s (%v), want it green", text, err)
	}
	if text, err := reader.ask(t.Context(), http.MethodGet, "/logs/_search?q=text:monster", ""); err != nil ||
		!strings.Contains(text, `"value":1`) {
		t.Errorf("a reader finds %s (%v)", text, err)
	}
}

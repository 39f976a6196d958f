package opensearch_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/engine/enginetest"
)

// searchWith is a search for which each document runs a script, as whoever may search can ask for it.
func searchWith(script string) request {
	return request{"POST", "/keys/_search", `{"script_fields": {"f": {"script": ` + script + `}}}`}
}

// TestScriptsAreChosen has the owner of an instance say that no scripts are run but those which are kept there: a
// restart puts that in force, for everybody and in each place in which a script may be.
func TestScriptsAreChosen(t *testing.T) {
	t.Parallel()
	needOpenSearch(t)
	n := enginetest.NewNode(t, tested)
	p := enginetest.Serve(t, tested, n)
	writer, reader := users(t, n)
	mustAsk(t, writer, request{"PUT", "/keys/_doc/k?refresh=true", `{"v": 7}`})
	mustAsk(t, writer, request{"PUT", "/_scripts/own", `{"script": {"lang": "painless", "source": "doc['v'].value + 1"}}`})
	mustAsk(t, reader, searchWith(`{"source": "1"}`))

	n.Settings = json.RawMessage(`{"settings": {"script.allowed_types": "stored"}}`)
	if restart, err := tested.Reload(t.Context(), n); err != nil || !restart {
		t.Fatalf("Reload asks for a restart: %t (%v)", restart, err)
	}
	p.Stop(t)
	enginetest.Serve(t, tested, n)
	if restart, err := tested.Reload(t.Context(), n); err != nil || restart {
		t.Errorf("Reload behind the restart asks for another one: %t (%v)", restart, err)
	}
	if text := mustAsk(t, reader, searchWith(`{"id": "own"}`)); !strings.Contains(text, `[8]`) {
		t.Errorf("a script that is kept answers %s", text)
	}
	const script = `{"source": "1"}`
	for _, body := range []string{
		`{"script_fields": {"f": {"script": ` + script + `}}}`, `{"query": {"script": {"script": ` + script + `}}}`,
		`{"query": {"script_score": {"query": {"match_all": {}}, "script": ` + script + `}}}`,
		`{"query": {"function_score": {"script_score": {"script": ` + script + `}}}}`,
		`{"sort": {"_script": {"type": "number", "script": ` + script + `}}}`,
		`{"aggs": {"a": {"terms": {"script": ` + script + `}}}}`,
		`{"aggs": {"a": {"scripted_metric": {"map_script": "1", "combine_script": "1", "reduce_script": "1"}}}}`,
		`{"derived": {"d": {"type": "long", "script": "emit(1)"}}, "fields": ["d"]}`,
	} {
		text, err := reader.ask(t.Context(), http.MethodPost, "/keys/_search", body)
		if err == nil || !strings.Contains(err.Error(), "cannot execute [inline] scripts") {
			t.Errorf("%s: %s (%v)", body, text, err)
		}
	}
}

// TestHeapIsTold uses up the server's memory, as whoever may search can: it ends, and says why.
func TestHeapIsTold(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	mustAsk(t, writer, request{"PUT", "/keys/_doc/k?refresh=true", `{"v": 7}`})
	greedy := searchWith(`{"source": "def l = []; for (int i = 0; i < 900; i++) { l.add(new byte[1000000]); } return l.size();"}`)
	text, err := reader.ask(t.Context(), greedy.method, greedy.path, greedy.body)
	if err == nil {
		t.Fatalf("it could take as much as it liked: %s", text)
	}
	const want = "OpenSearch ran out of memory, of which its heap has 128MB"
	for deadline := time.Now().Add(time.Minute); tested.Explain(n) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it explains itself with %q, want %q", tested.Explain(n), want)
		}
	}
}

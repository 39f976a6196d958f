package opensearch_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingOfTheMachineIsTold asks for all that the server tells of itself: it names no directory of the machine, and
// shows nothing of the index in which the security plugin keeps users but, in places, that there is one.
func TestNothingOfTheMachineIsTold(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	mustAsk(t, writer, request{"PUT", "/keys/_doc/k?refresh=true", `{"v": 7}`})
	for who, s := range map[string]session{"a user": writer, "a reader": reader} {
		for _, path := range []string{
			"/", "/_cluster/settings?include_defaults=true", "/_cluster/settings?include_defaults", "/_cluster/state",
			"/%5Fcluster/settings?include_defaults=true", "//_cluster//settings/?include_defaults=true",
			"/_cluster/state?format=yaml", "/_cluster/state/_all/_all?filter_path=metadata.indices,**.shard_path",
			"/_cluster/state/metadata/.opendistro_security", "/_cluster/state/metadata/%3C.opendistro_security%3E",
			"/_cluster/state/metadata,blocks,routing_table/.*", "/_cluster/state?filter_path=**.mappings",
			"/_cluster/health?level=shards", "/_cluster/stats", "/_nodes", "/_nodes/_all", "/_tasks?detailed=true",
			"/_stats?level=shards", "/_all/_stats?level=shards", "/keys/_stats/store?level=shards",
			"/keys/_stats?level=shards&filter_path=**.shard_path", "/.opendistro_security/_stats?level=shards",
			"/_recovery?detailed=true", "/keys/_recovery?detailed=true", "/_shard_stores?status=all", "/_segments?verbose=true",
			"/_all", "/*", "/.*", "/_mapping", "/_all/_mapping", "/.opendistro_security/_mapping", "/.*/_mapping",
			"/_mapping/field/*", "/.*/_mapping/field/*", "/_settings?include_defaults=true", "/.*/_settings", "/_alias",
			"/keys/_settings?include_defaults=true", "/_field_caps?fields=*", "/_resolve/index/*?expand_wildcards=all",
			"/_search?explain=true&profile=true", "/_search_shards", "/keys/_search_shards", "/_cat/indices?format=json",
			"/_cat/shards", "/_cat/segments", "/_cat/recovery?v", "/_cat/nodes", "/_cat/nodeattrs", "/_cat/plugins",
			"/_cat/allocation", "/_cat/fielddata", "/_cat/thread_pool", "/_cat/tasks?detailed", "/_dangling",
			"/_remote/info", "/_script_context", "/_cluster/allocation/explain", "/_cluster/pending_tasks",
		} {
			text, err := s.ask(t.Context(), http.MethodGet, path, "")
			if err != nil {
				text = err.Error()
			}
			for _, secret := range []string{filepath.Dir(n.DataDir), n.DataDir, n.RunDir, n.Installation.Dir} {
				if strings.Contains(text, secret) {
					t.Errorf("%s: GET %s tells of %s", who, path, secret)
				}
			}
			for _, sign := range []string{`"0-all"`, "internalusers", `.opendistro_security":`} {
				if err == nil && strings.Contains(text, sign) {
					t.Errorf("%s: GET %s tells of the index of users: %s in %.600s", who, path, sign, text)
					break
				}
			}
		}
	}
}

// TestAllAtOnce does to all indices what their users may do to each: that of the security plugin is none of theirs.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	hidden := `{"settings": {"index.hidden": true}}`
	for _, all := range []string{"_all", "*"} {
		mustAsk(t, writer, request{"PUT", "/keys/_doc/k?refresh=true", `{"v": 7}`})
		mustAsk(t, writer, request{"PUT", "/more", hidden})
		done := []request{
			{"PUT", "/" + all + "/_settings", `{"index.refresh_interval": "7s"}`},
			{"PUT", "/_settings", `{"index.refresh_interval": "7s"}`},
			{"PUT", "/" + all + "/_mapping", `{"properties": {"w": {"type": "keyword"}}}`},
			{"POST", "/" + all + "/_close", ""}, {"POST", "/" + all + "/_open?wait_for_active_shards=1", ""},
			{"POST", "/" + all + "/_update_by_query?refresh=true&conflicts=proceed", ""},
			{"POST", "/" + all + "/_delete_by_query?refresh=true&conflicts=proceed", `{"query": {"match_all": {}}}`},
			{"POST", "/" + all + "/_flush", ""}, {"POST", "/" + all + "/_forcemerge", ""},
			{"POST", "/_flush", ""}, {"POST", "/_cache/clear", ""}, {"POST", "/_forcemerge", ""},
			{"PUT", "/" + all + "/_block/write", ""}, {"PUT", "/" + all + "/_settings", `{"index.blocks.write": null}`},
			{"DELETE", "/" + all, ""},
		}
		wantRefused(t, n, "a reader", reader, done)
		for _, r := range done {
			if _, err := writer.ask(t.Context(), r.method, r.path, r.body); err != nil {
				t.Errorf("%s %s: %v", r.method, r.path, err)
			}
		}
		wantIndices(t, writer, "more")
		if _, err := writer.ask(t.Context(), http.MethodDelete, "/"+all, ""); err != nil {
			t.Errorf("where nothing is kept: DELETE %s: %v", all, err)
		}
		if _, err := writer.ask(t.Context(), http.MethodDelete, "/more", ""); err != nil {
			t.Errorf("a hidden index is gone with those that are seen: %v", err)
		}
	}
	if err := tested.Probe(t.Context(), n); err != nil {
		t.Errorf("after all that: %v", err)
	}
	users(t, n)
}

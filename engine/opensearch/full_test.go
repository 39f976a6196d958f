package opensearch_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
)

// TestFullNodeKeepsItsRoom fills a node as far as the keeper is concerned: what is kept of it is not used up by merging
// indices, what is logged of documents is given back, and when there is room again all is as its users have chosen.
func TestFullNodeKeepsItsRoom(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	mustAsk(t, writer, request{"PUT", "/own", `{"settings": {"index.merge.policy.max_merged_segment": "7mb"}}`})
	mustAsk(t, writer, request{"PUT", "/locked", `{"settings": {"index.blocks.read_only": true}}`})
	mustAsk(t, writer, request{"PUT", "/lifted", `{"settings": {"index.blocks.read_only_allow_delete": false}}`})
	mustAsk(t, writer, request{"PUT", "/nowhere?wait_for_active_shards=0",
		`{"settings": {"index.routing.allocation.require.disk": "fast"}}`})
	// Many, and of letters that take the most room in a request.
	names := []string{"large"}
	for i := range 5 {
		names = append(names, strings.Repeat("%E3%81%82", 80)+fmt.Sprint(i))
	}
	for _, name := range names {
		mustAsk(t, writer, request{"PUT", "/" + name + "/_doc/k", `{"v": "w"}`})
	}
	refuse := func(w engine.Writes) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // as long as the keeper waits
		defer cancel()
		if err := tested.RefuseWrites(ctx, n, w); err != nil {
			t.Fatalf("RefuseWrites(%v): %v", w, err)
		}
	}
	// want is of what an index says of how large merged segments may be; empty: nothing.
	want := func(index, size string) {
		t.Helper()
		text := mustAsk(t, writer, request{"GET", "/" + index + "/_settings/index.merge*?flat_settings=true", ""})
		if said := strings.Contains(text, "max_merged_segment"); said != (size != "") || !strings.Contains(text, size) {
			t.Errorf("%s: %s, want %q", index, text, size)
		}
	}
	logged := func() string {
		t.Helper()
		return mustAsk(t, writer, request{"GET",
			"/large/_stats/translog?filter_path=_all.primaries.translog.uncommitted_operations", ""})
	}
	if text := logged(); !strings.Contains(text, `:1}`) {
		t.Fatalf("what is logged of a document: %s", text)
	}
	for range 2 {
		refuse(engine.FewWrites)
		if text := logged(); !strings.Contains(text, `:0}`) {
			t.Errorf("what is logged of a document in a node that is full: %s", text)
		}
		for _, name := range append(names, "lifted") {
			want(name, "2097151b")
		}
		want("own", "7mb")
		want("locked", "")
		if _, err := writer.ask(t.Context(), http.MethodPut, "/lifted/_doc/k", `{"v": "w"}`); err == nil {
			t.Error("a node that is full takes a document")
		}
		refuse(engine.AnyWrites)
		for _, name := range append(names, "locked", "lifted") {
			want(name, "")
		}
		want("own", "7mb")
		mustAsk(t, writer, request{"PUT", "/lifted/_doc/k", `{"v": "w"}`})
		if _, err := writer.ask(t.Context(), http.MethodPut, "/locked/_doc/k", `{"v": "w"}`); err == nil {
			t.Error("an index that its users have blocked takes a document")
		}
	}
}

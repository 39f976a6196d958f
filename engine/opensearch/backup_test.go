package opensearch_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestBackupsShare takes a backup behind another: it brings what is new alone, and the node keeps no copies. When
// something is gone that both had, the next one does without it.
func TestBackupsShare(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	r := enginetest.NewRepository(t)
	backUp := func() backstay.Backup {
		t.Helper()
		b, err := tested.Backup(t.Context(), n, r, false)
		if err != nil {
			t.Fatal(err)
		}
		wantNoCopies(t, n)
		return b
	}
	lines := ""
	for range 500 {
		lines += fmt.Sprintf("{\"index\": {}}\n{\"v\": %q}\n", fmt.Sprint(rand.Perm(50)))
	}
	mustAsk(t, writer, request{"POST", "/large/_bulk?refresh=true", lines})
	first := backUp()
	mustAsk(t, writer, request{"PUT", "/small/_doc/k?refresh=true", `{"v": "w"}`})
	second := backUp()
	if second.Data <= first.Data || second.Stored > first.Stored/2 {
		t.Errorf("the second backup has %v, and takes %v; the first one %v and %v",
			second.Data, second.Stored, first.Data, first.Stored)
	}
	shared := blobs(t, r)
	third := backUp()
	if got := blobs(t, r); len(got) != len(shared) {
		t.Errorf("where nothing has changed, a backup makes of %v blobs %v", shared, got)
	}
	if err := os.Remove(shared[0]); err != nil {
		t.Fatal(err)
	}
	fourth := backUp()
	found, err := tested.Verify(t.Context(), n, r)
	if err != nil || found.Backups[fourth.ID] != "" || found.Backups[second.ID] == "" || found.Backups[third.ID] == "" {
		t.Errorf("Verify: %+v, %v; want the last backup to be whole, and others not", found, err)
	}
}

// blobs are the files in our repository that have documents.
func blobs(t *testing.T, r backstay.Repository) (all []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(r.Dir, r.Part, "blobs", "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("there are no blobs: %v", err)
	}
	return all
}

// wantNoCopies wants the node to have files with documents in no other place than its indices.
func wantNoCopies(t *testing.T, n engine.Node) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(n.DataDir, "snapshots"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "__") {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() > 0 {
			t.Errorf("%s was left: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func mustAsk(t *testing.T, s session, r request) string {
	t.Helper()
	text, err := s.ask(t.Context(), r.method, r.path, r.body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return text
}

// TestAllIsRestored restores what there is beside documents, and what cannot be anywhere.
func TestAllIsRestored(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	r := enginetest.NewRepository(t)
	if _, err := tested.Backup(t.Context(), n, r, false); err != nil {
		t.Errorf("where nothing is kept: %v", err)
	}
	for _, asked := range []request{
		{"PUT", "/_index_template/t",
			`{"index_patterns": ["log-*"], "template": {"settings": {"number_of_shards": 2}}}`},
		{"PUT", "/_scripts/s", `{"script": {"lang": "painless", "source": "1"}}`},
		{"PUT", "/log-1/_doc/k?refresh=true", `{"v": "in it"}`},
		{"POST", "/_aliases", `{"actions": [{"add": {"index": "log-1", "alias": "logs"}}]}`},
		{"PUT", "/.hidden", `{"settings": {"index.hidden": true}}`},
		{"PUT", "/.hidden/_doc/k?refresh=true", `{"v": "hidden"}`},
		{"PUT", "/closed/_doc/k?refresh=true", `{"v": "closed"}`}, {"POST", "/closed/_close", ""},
		{"PUT", "/nowhere?wait_for_active_shards=0", `{"settings": {"index.routing.allocation.require.disk": "fast"}}`},
		{"PUT", "/moved/_doc/k?refresh=true", `{"v": "moved"}`},
		{"PUT", "/moved/_settings", `{"index.routing.allocation.require.disk": "fast"}`},
	} {
		mustAsk(t, writer, asked)
	}
	b, err := tested.Backup(t.Context(), n, r, false)
	if err != nil {
		t.Fatal(err)
	}
	copied := enginetest.NewNode(t, tested)
	if err := tested.Restore(t.Context(), copied, r, engine.Point{Backup: b.ID, Alone: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(copied.DataDir, "snapshots")); !os.IsNotExist(err) {
		t.Errorf("what was restored from is left: %v", err)
	}
	enginetest.Serve(t, tested, copied)
	s := bound(t, copied, engine.User{Name: "u2", Password: "anotherhorsebattery"})
	mustAsk(t, s, request{"POST", "/closed/_open", ""})
	for path, want := range map[string]string{
		"/_index_template/t": `"number_of_shards":"2"`, "/_scripts/s": `"painless"`, "/logs/_doc/k": "in it",
		"/.hidden/_doc/k": "hidden", "/closed/_doc/k": "closed", "/nowhere/_mapping": "nowhere",
		"/moved/_doc/k":         "moved",
		"/_cat/indices?h=index": "log-1",
	} {
		if text := mustAsk(t, s, request{http.MethodGet, path, ""}); !strings.Contains(text, want) {
			t.Errorf("GET %s: %s, want it to have %q", path, text, want)
		}
	}
	mustAsk(t, s, request{"PUT", "/moved/_doc/l", `{"v": "goes on"}`})
	if _, err := tested.Backup(t.Context(), copied, enginetest.NewRepository(t), false); err != nil {
		t.Errorf("a backup of what was restored: %v", err)
	}
}

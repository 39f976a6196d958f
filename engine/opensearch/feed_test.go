package opensearch_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestTakenUpInItsRoom restores and clones an index of several files, each of several parts: while that goes on, the
// new node takes hardly more of its disk than in the end.
func TestTakenUpInItsRoom(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	load(t, writer, "large")
	repository := enginetest.NewRepository(t)
	b, err := tested.Backup(t.Context(), n, repository, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(to engine.Node) error{
		"restore": func(to engine.Node) error {
			return tested.Restore(t.Context(), to, repository, engine.Point{Backup: b.ID, Alone: true})
		},
		"clone": func(to engine.Node) error { return tested.Clone(t.Context(), n, to, func(string) {}) },
	} {
		to := enginetest.NewNode(t, tested)
		ended := most(filepath.Dir(to.DataDir))
		err := make(to)
		took := ended()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if takes := size(to.DataDir); takes < 35<<20 || took > takes*5/4 {
			t.Errorf("a %s of %d MB took %d MB meanwhile", name, takes>>20, took>>20)
		}
		enginetest.Serve(t, tested, to)
		s := bound(t, to, engine.User{Name: "u2", Password: "anotherhorsebattery"})
		if text := mustAsk(t, s, request{"GET", "/large/_count", ""}); !strings.Contains(text, `"count":10000,`) {
			t.Errorf("a %s has %s", name, text)
		}
	}
}

// load indexes ten thousand documents, of 40 MB.
func load(t *testing.T, s session, index string) {
	t.Helper()
	mustAsk(t, s, request{"PUT", "/" + index, `{"settings": {"number_of_shards": 2},
		"mappings": {"properties": {"v": {"type": "keyword", "index": false, "doc_values": false}}}}`})
	random := make([]byte, 3000)
	for range 40 {
		var lines strings.Builder
		for range 250 {
			rand.Read(random)
			fmt.Fprintf(&lines, "{\"index\": {}}\n{\"v\": %q}\n", base64.StdEncoding.EncodeToString(random))
		}
		mustAsk(t, s, request{"POST", "/" + index + "/_bulk", lines.String()})
	}
}

// most looks how much of the disk a directory takes until it is asked for the most that it has seen.
func most(dir string) (ended func() int64) {
	end, seen := make(chan struct{}), make(chan int64)
	go func() {
		var largest int64
		for {
			largest = max(largest, size(dir))
			select {
			case <-end:
				seen <- largest
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(end); return <-seen }
}

// size is what the files below a directory take of the disk, but for those that go meanwhile.
func size(dir string) (all int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			all += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return all
}

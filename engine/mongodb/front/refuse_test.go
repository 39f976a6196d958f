package front

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/FerretDB/wire/wirebson"
)

func TestFullNodesRefuse(t *testing.T) {
	t.Parallel()
	stages := func(names ...string) *wirebson.Array {
		all := wirebson.MakeArray(len(names))
		for _, name := range names {
			if err := all.Add(wirebson.MustDocument(name, "x")); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	for name, tc := range map[string]struct {
		message           []byte
		growing, deleting bool // whether it is refused where that is
	}{
		"find":            {msg(t, "find", "c"), false, false},
		"drop":            {msg(t, "drop", "c"), false, false},
		"insert":          {msg(t, "insert", "c"), true, true},
		"a long insert":   {msg(t, "insert", strings.Repeat("x", wholly)), true, true},
		"findAndModify":   {msg(t, "findAndModify", "c", "update", wirebson.MustDocument()), true, true},
		"that removes":    {msg(t, "findAndModify", "c", "remove", true), false, true},
		"delete":          {msg(t, "delete", "c"), false, true},
		"aggregate":       {msg(t, "aggregate", "c", "pipeline", stages("$match", "$count")), false, false},
		"with $out":       {msg(t, "aggregate", "c", "pipeline", stages("$match", "$out")), true, true},
		"with $merge":     {msg(t, "aggregate", "c", "pipeline", stages("$merge")), true, true},
		"no pipeline":     {msg(t, "aggregate", "c", "pipeline", "x"), false, false},
		"no stage":        {msg(t, "aggregate", "c", "pipeline", wirebson.MustArray("x")), false, false},
		"no command":      {msg(t), false, false},
		"another's field": {msg(t, "find", "c", "insert", "c"), false, false},
	} {
		m, err := readMessage(bufio.NewReaderSize(bytes.NewReader(tc.message), 16<<10), true)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.isRefused("") || m.isRefused(Growing) != tc.growing || m.isRefused(Deleting) != tc.deleting {
			t.Errorf("%s is refused: %t and %t, want %t and %t", name, m.isRefused(Growing), m.isRefused(Deleting),
				tc.growing, tc.deleting)
		}
	}
}

// TestConfigurationIsWatched replaces the file, and takes it away.
func TestConfigurationIsWatched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "front.json")
	w := watched{path: path, config: Config{Connections: 1}}
	want := func(connections int) {
		t.Helper()
		if got := w.now().Connections; got != connections {
			t.Errorf("%d connections, want %d", got, connections)
		}
	}
	replace := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".part", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".part", path); err != nil {
			t.Fatal(err)
		}
	}
	want(1)
	replace(`{"connections": 2}`)
	want(2)
	want(2)
	replace(`{"connections": 3}`)
	want(3)
	replace(`{`)
	want(3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want(3)
	replace(`{"connections": 4}`)
	want(4)
}

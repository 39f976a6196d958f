package enginetest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testCheck has Check find what is possible and what is not. Check must change nothing, neither of a prepared node
// nor of one that was never prepared.
func testCheck(t *testing.T, s Subject) {
	n := s.newNode(t)
	mustCheck(t, s, n)
	wantNothingMade(t, n)
	if err := s.Engine.Prepare(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, n)
	mustCheck(t, s, n)
	wider := n
	wider.Size.Memory, wider.Size.Connections = 2*n.Size.Memory, 2*n.Size.Connections
	wider.TLS = Certificate(t, n.Endpoint.Host)
	mustCheck(t, s, wider)
	s.wantImpossible(t, n)
	after := snapshot(t, n)
	for path := range before {
		if before[path] != after[path] {
			t.Errorf("a check changed %s: it was %s and is %s", path, before[path], after[path])
		}
	}
	if len(before) != len(after) {
		t.Errorf("there were %d files and are %d", len(before), len(after))
	}
}

// testCheckRunning has Check refuse what is impossible while the node runs. A client of the node notices nothing.
func testCheckRunning(t *testing.T, s Subject) {
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	s.session(t, s.createUser(t, n, newUser()), func(c Session) {
		mustSet(t, c, "k", "v")
		mustCheck(t, s, n)
		s.wantImpossible(t, n)
		older := n
		older.Installation.Version, older.Installation.FullVersion = "0.1", "0.1.2"
		if err := s.Engine.Check(t.Context(), older); backstay.KindOf(err) != backstay.Unsupported {
			t.Errorf("an older version is to serve the data: got %v, want it to be unsupported", err)
		}
		wantValue(t, c, "k", "v")
	})
}

func mustCheck(t *testing.T, s Subject, n engine.Node) {
	t.Helper()
	if err := s.Engine.Check(t.Context(), n); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// wantImpossible wants Check and Prepare to refuse the same impossible nodes, for the same kind of reason.
func (s Subject) wantImpossible(t *testing.T, n engine.Node) {
	t.Helper()
	type impossible struct {
		what   string
		change func(*engine.Node)
		want   backstay.Kind
	}
	all := []impossible{
		{"another's key", func(n *engine.Node) { n.TLS.Key = Certificate(t, n.Endpoint.Host).Key }, backstay.Invalid},
		{"no certificate", func(n *engine.Node) { n.TLS = backstay.Certificate{} }, backstay.Invalid},
		{"a name to listen on", func(n *engine.Node) { n.Ports = listening(n, "localhost") }, backstay.Invalid},
		{"no programs", func(n *engine.Node) { n.Installation.Dir = "/no/such" }, backstay.Unavailable},
	}
	for _, text := range s.BadSettings {
		set := func(n *engine.Node) { n.Settings = json.RawMessage(text) }
		all = append(all, impossible{"settings " + text, set, backstay.Invalid})
	}
	for _, i := range all {
		wanted := n
		i.change(&wanted)
		if err := s.Engine.Check(t.Context(), wanted); backstay.KindOf(err) != i.want {
			t.Errorf("%s: a check says %v, want it to be %v", i.what, err, i.want)
		}
		if err := s.Engine.Prepare(t.Context(), wanted); backstay.KindOf(err) != i.want {
			t.Errorf("%s: Prepare says %v, want it to be %v", i.what, err, i.want)
		}
	}
}

func listening(n *engine.Node, address string) []engine.Port {
	p := n.Port(engine.ClientPort)
	p.Listen = []string{address}
	return []engine.Port{p}
}

// snapshot describes every file of a node so that each change shows.
func snapshot(t *testing.T, n engine.Node) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{filepath.Dir(n.DataDir), n.RunDir} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var s syscall.Stat_t
			if err := syscall.Lstat(path, &s); err != nil {
				return err
			}
			all[path] = fmt.Sprintf("%o %d:%d #%d %d %d.%09d", s.Mode, s.Uid, s.Gid, s.Ino, s.Size, s.Mtim.Sec, s.Mtim.Nsec)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

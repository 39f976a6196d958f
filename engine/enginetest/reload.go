package enginetest

import (
	"os"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
)

// testReload wants Reload to keep all sessions and to report rightly whether a restart is needed.
func testReload(t *testing.T, s Subject) {
	r, ok := s.Engine.(engine.Reloader)
	if !ok {
		t.Skip("this engine is configured by a start alone")
	}
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	u := newUser()
	reload := func(n engine.Node) (restart bool) {
		t.Helper()
		restart, err := r.Reload(t.Context(), n)
		if err != nil {
			t.Fatalf("Reload: %v", err)
		}
		return restart
	}
	renewed, larger := n, n
	renewed.TLS = Certificate(t, n.Endpoint.Host)
	larger.TLS = renewed.TLS
	larger.Size = backstay.Size{
		Storage: 4*n.Size.Storage + 12345, Memory: 2*n.Size.Memory + 54321, Connections: 2 * n.Size.Connections,
	}
	old := s.createUser(t, n, u)
	s.session(t, old, func(c Session) {
		mustSet(t, c, "k", "v")
		if reload(n) || reload(renewed) {
			t.Error("a restart is wanted for nothing, or for a certificate")
		}
		wantValue(t, c, "k", "v")
		wantRefused(t, s, old) // who trusts the authority before
		s.session(t, s.createUser(t, renewed, u), func(c Session) { wantValue(t, c, "k", "v") })
		if first, second := reload(larger), reload(larger); first != s.ResizeRestarts || second != first {
			t.Errorf("whether a larger node takes a restart: %t, then %t; want %t", first, second, s.ResizeRestarts)
		}
		wantValue(t, c, "k", "v")
		if reload(renewed) {
			t.Error("a restart is wanted though all is as it was at the start")
		}
		if !reload(larger) {
			s.besiege(t, larger, s.createUser(t, larger, newUser())).giveUp()
		}
		wantValue(t, c, "k", "v")
	})
	p.Stop(t)
	Serve(t, s.Engine, larger)
	if reload(larger) {
		t.Error("a restart is wanted just after one")
	}
	s.besiege(t, larger, s.createUser(t, larger, newUser())).giveUp()
}

// testReloadMoves wants a restart that is owed for another port to be told of as often as it is asked, and not any more
// once the port is the one that the node has.
func testReloadMoves(t *testing.T, s Subject) {
	r, ok := s.Engine.(engine.Reloader)
	if !ok {
		t.Skip("this engine is configured by a start alone")
	}
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	moved := n
	moved.Ports = slices.Clone(n.Ports)
	moved.Ports[0].Number, _ = testkit.Ports(t, 1)
	var owed []bool
	for _, wanted := range []engine.Node{moved, moved, n, n} {
		restart, err := r.Reload(t.Context(), wanted)
		if err != nil {
			t.Fatalf("Reload: %v", err)
		}
		owed = append(owed, restart)
	}
	if owed[0] != owed[1] || owed[2] || owed[3] {
		t.Errorf("whether a restart is owed: %t, the same again: %t, back where it is: %t, the same again: %t",
			owed[0], owed[1], owed[2], owed[3])
	}
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "k", "v") })
}

// testReloadRefused wants a Reload that fails to leave the node as it was.
func testReloadRefused(t *testing.T, s Subject) {
	r, ok := s.Engine.(engine.Reloader)
	if !ok {
		t.Skip("this engine is configured by a start alone")
	}
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	c := s.createUser(t, n, newUser())
	wrong := n
	wrong.TLS.Key = Certificate(t, n.Endpoint.Host).Key
	if _, err := r.Reload(t.Context(), wrong); err == nil {
		t.Error("a key that does not belong to the certificate is taken")
	}
	aside := n.DataDir + ".aside"
	mustRename(t, n.DataDir, aside)
	if _, err := r.Reload(t.Context(), n); err == nil {
		t.Error("a node is reloaded whose data directory is missing")
	}
	if _, err := os.Lstat(n.DataDir); err == nil {
		t.Error("a directory takes the place of the one that is missing")
	}
	mustRename(t, aside, n.DataDir)
	s.session(t, c, func(c Session) { mustSet(t, c, "k", "v") })
	if restart, err := r.Reload(t.Context(), n); err != nil || restart {
		t.Errorf("afterwards: %t, %v", restart, err)
	}
}

func mustRename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
)

// versions are an engine with installations of two versions, and the older and the newer of them.
type versions struct {
	engine.Upgrader
	engine     engine.Engine
	old, newer engine.Installation
}

// twoVersions skips the test where there are not two.
func (s Subject) twoVersions(t *testing.T) versions {
	t.Helper()
	if s.Versions == nil {
		t.Skip("there is no second version of this engine to be had")
	}
	e := s.Versions(t)
	u, ok := e.(engine.Upgrader)
	if !ok {
		t.Fatal("the engine has several versions, and no upgrade from one to the other")
	}
	found, err := e.Installations(t.Context())
	if err != nil || len(found) < 2 {
		t.Fatalf("got %v, %v: want two versions", found, err)
	}
	return versions{u, e, found[len(found)-1], found[0]}
}

// upgraded is what the node becomes.
func (v versions) upgraded(n engine.Node) engine.Node {
	n.Installation = v.newer
	n.DataDir = filepath.Join(filepath.Dir(n.DataDir), "data-2")
	n.Admin = v.engine.LocalAdmin(n)
	return n
}

// newOldNode returns a node of the older version, which is not prepared.
func (s Subject) newOldNode(t *testing.T, v versions) engine.Node {
	n := NewNode(t, v.engine)
	n.CacheDir = s.cache
	n.Installation = v.old
	n.Admin = v.engine.LocalAdmin(n)
	return n
}

// testUpgraded upgrades a node with users. They keep their passwords, their rights and what they made. The data that
// was there before is what it was, and serves again.
func testUpgraded(t *testing.T, s Subject) {
	v := s.twoVersions(t)
	n := s.newOldNode(t, v)
	to := v.upgraded(n)
	old := Serve(t, v.engine, n)
	writes, reads := newUser(), newUser()
	reads.ReadOnly = true
	writer, reader := s.createUser(t, n, writes), s.createUser(t, n, reads)
	s.session(t, writer, func(c Session) { mustSet(t, c, "kept", "yes") })
	if version, err := v.MadeBy(n); err != nil || version != v.old.Version {
		t.Errorf("the data was made by %q, %v; want %s", version, err, v.old.Version)
	}
	if err := v.CheckUpgrade(t.Context(), n, to); err != nil {
		t.Fatalf("CheckUpgrade: %v", err)
	}
	s.session(t, writer, func(c Session) { wantValue(t, c, "kept", "yes") })
	old.Stop(t)
	before := snapshot(t, n)
	v.mustUpgrade(t, n, to)
	v.mustBe(t, to, v.newer)
	after := snapshot(t, n)
	for path, was := range before {
		if is := after[path]; strings.HasPrefix(path, n.DataDir) && is != was {
			t.Errorf("the upgrade changed %s: it was %s and is %s", path, was, is)
		}
	}

	p := Serve(t, v.engine, to)
	s.session(t, writer, func(c Session) {
		wantValue(t, c, "kept", "yes")
		mustSet(t, c, "since", "the upgrade")
	})
	s.session(t, reader, func(c Session) {
		wantValue(t, c, "kept", "yes")
		if err := c.Set(t.Context(), "kept", "no"); err == nil {
			t.Error("a user that may only read has written")
		}
	})
	if err := v.Refresh(t.Context(), to); err != nil {
		t.Errorf("Refresh: %v", err)
	}
	s.session(t, s.createUser(t, to, newUser()), func(c Session) { wantValue(t, c, "since", "the upgrade") })
	p.Stop(t)
	wantPrivate(t, to)

	Serve(t, v.engine, n)
	s.session(t, writer, func(c Session) { wantValue(t, c, "kept", "yes") })
}

func (v versions) mustBe(t *testing.T, n engine.Node, i engine.Installation) {
	t.Helper()
	if version, err := v.MadeBy(n); err != nil || version != i.Version {
		t.Errorf("the data was made by %q, %v; want %s", version, err, i.Version)
	}
}

func (v versions) mustUpgrade(t *testing.T, from, to engine.Node) {
	t.Helper()
	told := 0
	if err := v.Upgrade(t.Context(), from, to, func(string) { told++ }); err != nil {
		t.Fatalf("Upgrade: %v", err)
	}
	if told == 0 {
		t.Error("an upgrade that tells of no progress")
	}
}

// testUpgradeKilled kills upgrades at several moments. None of them leaves half of anything, and the last is whole.
func testUpgradeKilled(t *testing.T, s Subject) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	v := s.twoVersions(t)
	n := s.newOldNode(t, v)
	to := v.upgraded(n)
	old := Serve(t, v.engine, n)
	credentials := s.createUser(t, n, newUser())
	s.session(t, credentials, func(c Session) { mustSet(t, c, "kept", "yes") })
	old.Stop(t)
	began := time.Now()
	v.mustUpgrade(t, n, to)
	whole := time.Since(began)
	want := len(entries(t, filepath.Dir(n.DataDir)))
	for i := range 3 {
		further := to
		further.DataDir = fmt.Sprintf("%s%d", to.DataDir, i+3)
		want++
		s.killDoing(t, order{Act: "upgrade", From: &n, Node: further}, time.Duration(i)*whole/3+rand.N(whole/3))
		if _, err := v.MadeBy(further); err == nil { // it was done: it is whole, and may be older than the data is by then
			v.mustBe(t, further, v.newer)
			if err := os.RemoveAll(further.DataDir); err != nil {
				t.Fatal(err)
			}
		}
		v.mustUpgrade(t, n, further)
		v.mustBe(t, further, v.newer)
		if got := entries(t, filepath.Dir(n.DataDir)); len(got) != want {
			t.Errorf("beside the data lie %v, want %d", got, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), whole/2)
	defer cancel()
	further := to
	further.DataDir += "9"
	if err := v.Upgrade(ctx, n, further, func(string) {}); err == nil {
		t.Log("the upgrade was quicker than half of the one before")
		want++
	}
	if got := entries(t, filepath.Dir(n.DataDir)); len(got) != want {
		t.Errorf("beside the data lie %v, want %d", got, want)
	}
	wantNothingElsewhere(t, to)
	Serve(t, v.engine, to)
	s.session(t, credentials, func(c Session) { wantValue(t, c, "kept", "yes") })
}

// wantNothingElsewhere wants no file among the machine's temporary ones to speak of a node: nobody would remove it.
func wantNothingElsewhere(t *testing.T, n engine.Node) {
	t.Helper()
	files, err := filepath.Glob("/tmp/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() || info.Size() > 10_000 {
			continue
		}
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(n.RunDir)) {
			t.Errorf("%s was left behind:\n%s", file, text)
		}
	}
}

// testUpgradeRefused wants no way back to an older version, and a wish for one to change nothing.
func testUpgradeRefused(t *testing.T, s Subject) {
	v := s.twoVersions(t)
	n := s.newOldNode(t, v)
	n.Installation = v.newer
	to := v.upgraded(n)
	to.Installation = v.old
	p := Serve(t, v.engine, n)
	if err := v.CheckUpgrade(t.Context(), n, to); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("an older version: got %v, want it to be unsupported", err)
	}
	p.Stop(t)
	want := entries(t, filepath.Dir(n.DataDir))
	if err := v.Upgrade(t.Context(), n, to, func(string) {}); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("an upgrade to an older version: got %v, want it to be unsupported", err)
	}
	if got := entries(t, filepath.Dir(n.DataDir)); len(got) != len(want) {
		t.Errorf("beside the data lie %v, want %v", got, want)
	}
}

package enginetest

import (
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testPrepareTwice wants a second Prepare to write the configuration anew and to keep the data.
func testPrepareTwice(t *testing.T, s Subject) {
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	u := newUser()
	s.session(t, s.createUser(t, n, u), func(c Session) { mustSet(t, c, "kept", "yes") })
	p.Stop(t)
	wantPrivate(t, n)

	n.Size.Memory, n.Size.Connections = 2*n.Size.Memory, 2*n.Size.Connections
	n.TLS = Certificate(t, n.Endpoint.Host)
	Serve(t, s.Engine, n)
	s.session(t, s.createUser(t, n, u), func(c Session) { wantValue(t, c, "kept", "yes") })
}

// wantPrivate wants everything that the node keeps to belong to its account, and nobody else to have access to it.
func wantPrivate(t *testing.T, n engine.Node) {
	t.Helper()
	for _, dir := range []string{n.DataDir, filepath.Dir(n.LogFile)} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode().Type() != fs.ModeSymlink && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v: others may use it", path, info.Mode())
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && n.Account != nil && stat.Uid != n.Account.UID {
				t.Errorf("%s: belongs to user %d, want %d", path, stat.Uid, n.Account.UID)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func testBadSettings(t *testing.T, s Subject) {
	n := s.newNode(t)
	for _, text := range append([]string{`{`, `[]`, `7`, `{"no such setting": 1}`}, s.BadSettings...) {
		n.Settings = json.RawMessage(text)
		if err := s.Engine.Prepare(t.Context(), n); backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("settings %s: got %v, want it to be invalid", text, err)
		}
	}
	wantNothingMade(t, n)
}

func testMissingInstallation(t *testing.T, s Subject) {
	n := s.newNode(t)
	n.Installation.Dir = filepath.Join(n.CacheDir, "no", "such")
	err := s.Engine.Prepare(t.Context(), n)
	sentence := backstay.SentenceOf(err)
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(sentence, n.Installation.Version) {
		t.Errorf("got %v (%q), want it to be unavailable and to name version %s", err, sentence, n.Installation.Version)
	}
	wantNothingMade(t, n)
}

func wantNothingMade(t *testing.T, n engine.Node) {
	t.Helper()
	left, err := filepath.Glob(n.DataDir + "*")
	if err != nil || len(left) != 0 {
		t.Errorf("a Prepare that failed left %v (%v)", left, err)
	}
}

func testWarm(t *testing.T, s Subject) {
	w, ok := s.Engine.(engine.Warmer)
	if !ok {
		t.Skip("this engine has nothing to do ahead")
	}
	n := NewNode(t, s.Engine) // and a cache that is cold
	var both errgroup.Group
	for range 2 {
		both.Go(func() error { return w.Warm(t.Context(), n.Installation, n.CacheDir) })
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	Serve(t, s.Engine, n)
}

// testPrepareKilled kills Prepare at several moments. The next Prepare must make a node that serves, and leave no more
// files behind than one that was not killed.
func testPrepareKilled(t *testing.T, s Subject) {
	n := s.newNode(t)
	began := time.Now()
	if err := s.Engine.Prepare(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	want := len(entries(t, filepath.Dir(n.DataDir)))
	for i := range 6 {
		n := s.newNode(t)
		s.killPreparing(t, n, time.Duration(i)*whole/6+rand.N(whole/6))
		if i%2 == 0 { // one that was killed twice
			s.killPreparing(t, n, rand.N(whole))
		}
		p := Serve(t, s.Engine, n)
		s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "k", "v") })
		p.Stop(t)
		if got := entries(t, filepath.Dir(n.DataDir)); len(got) != want {
			t.Errorf("beside the data lie %v, want %d", got, want)
		}
	}
}

// testFirstPrepareKilled does the same while the golden directory is made.
func testFirstPrepareKilled(t *testing.T, s Subject) {
	n := NewNode(t, s.Engine)
	for range 3 {
		s.killPreparing(t, n, rand.N(time.Second))
	}
	Serve(t, s.Engine, n)
}

func (s Subject) killPreparing(t *testing.T, n engine.Node, after time.Duration) {
	t.Helper()
	s.killDoing(t, order{Node: n}, after)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

package mysql_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// A restored node, and a clone, have what was there, none of its users, and what these have defined goes on.
func TestBackupIsRestored(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if !s.mariadb() {
		_, err := tested.Backup(t.Context(), s.Node, backstay.Repository{}, false)
		if backstay.KindOf(err) != backstay.Unsupported {
			t.Errorf("got %v, want it to be refused", err)
		}
		return
	}
	b := s.bind(t)
	b.connect(t).do(t, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)", "CREATE VIEW v AS SELECT n FROM t")
	r := backstay.Repository{Dir: t.TempDir(), Part: string(s.Instance), Key: backstay.Secret(strings.Repeat("1a", 32))}
	made, err := tested.Backup(t.Context(), s.Node, r, false)
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s.Node, r, made)
	copies := map[string]func(engine.Node) error{
		"restore": func(n engine.Node) error {
			return tested.Restore(t.Context(), n, r, engine.Point{Backup: made.ID})
		},
		"clone": func(n engine.Node) error { return tested.Clone(t.Context(), s.Node, n, func(string) {}) },
	}
	for name, make := range copies {
		n := enginetest.NewNode(t, tested)
		if err := make(n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		enginetest.Serve(t, tested, n)
		if session, err := connect(t.Context(), at(b.credentials, n)); err == nil {
			session.Close()
			t.Errorf("%s: a user of the source is let in", name)
		}
		server{n}.bind(t).connect(t).want(t, "SELECT n FROM v", "42")
	}
	stream := filepath.Join(r.Dir, r.Part, "backup", made.ID, "stream")
	content, err := os.ReadFile(stream)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(stream, content, 0o600); err != nil {
		t.Fatal(err)
	}
	n := enginetest.NewNode(t, tested)
	if f, err := tested.Verify(t.Context(), s.Node, r); err != nil || f.Backups[made.ID] == "" {
		t.Errorf("a damaged backup: Verify: %+v, %v", f, err)
	}
	if err := copies["restore"](n); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("a damaged backup: got %v", err)
	}
	if err := tested.Expire(t.Context(), s.Node, r, nil); err != nil {
		t.Error(err)
	}
	if left, err := tested.Backups(t.Context(), s.Node, r); err != nil || len(left) > 0 {
		t.Errorf("after expiry there are %v (%v)", left, err)
	}
}

// wantWhole wants nothing to be damaged in a repository with that backup.
func wantWhole(t *testing.T, n engine.Node, r backstay.Repository, made backstay.Backup) {
	t.Helper()
	f, err := tested.Verify(t.Context(), n, r)
	if damage, found := f.Backups[made.ID]; err != nil || !found || damage != "" || len(f.Lost) > 0 {
		t.Errorf("Verify: %+v, %v", f, err)
	}
}

// at are credentials as they would be on another node.
func at(c backstay.Credentials, n engine.Node) backstay.Credentials {
	moved := backstay.Credentials{}
	for key, value := range c {
		moved[key] = value
	}
	moved["host"], moved["port"], moved["ca_certificate"] = n.Endpoint.Host, n.Endpoint.Port, n.TLS.Authority
	return moved
}

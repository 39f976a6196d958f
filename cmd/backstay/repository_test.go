package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/repository"
)

func readSettings(t *testing.T, args ...string) (*config, error) {
	t.Helper()
	return (&cli{env: func(string) string { return "/home/ada" }}).serveConfig("serve", args)
}

// TestTheKeeperIsToldWhereBackupsLie looks at the command line of a keeper.
func TestTheKeeperIsToldWhereBackupsLie(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store := []string{"--data", "/d", "--repository-endpoint", "s3.example.org:9000", "--repository-bucket", "backups",
		"--repository-access-key", "key", "--repository-secret-key-file", secret}
	for _, tc := range []struct{ args, want, wrong []string }{
		{[]string{"--data", "/d"}, []string{"--repository", "/d/repository"}, nil},
		{[]string{"--data", "/d", "--repository", "/r"}, []string{"--repository", "/r"}, nil},
		{[]string{"--data", "/d", "--repository", "/d/repository/one"}, []string{"--repository", "/d/repository/one"}, nil},
		{[]string{"--data", "/d", "--repository", "/disk"}, []string{"--repository", "/disk"}, nil},
		{[]string{"--data", "/d", "--repository", "/"}, []string{"--repository", "/"}, nil},
		{[]string{"--data", "/d", "--repository", "/d/../d"}, nil, []string{"is a place of Backstay's own"}},
		{[]string{"--data", "/d", "--repository", "/d/instances"}, nil, []string{"is a place of Backstay's own"}},
		{store, store[2:], nil},
		{append(slices.Clone(store), "--repository", "/r"), nil, []string{"two places"}},
		{[]string{"--repository-prefix", "a"}, nil, []string{"needs --repository-endpoint", "needs --repository-secret-key-file"}},
		{[]string{"--repository-endpoint", "https://s3.example.org"}, nil, []string{"is not HOST or HOST:PORT"}},
	} {
		cfg, err := readSettings(t, tc.args...)
		for _, words := range tc.wrong {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%v: %v, want %q", tc.args, err, words)
			}
		}
		if tc.wrong == nil && (err != nil || !strings.Contains(strings.Join(cfg.keepArgs, " "), strings.Join(tc.want, " "))) {
			t.Errorf("%v: the keeper is told %+v, %v", tc.args, cfg, err)
		}
	}
	cfg, err := readSettings(t, store...)
	if err != nil || strings.Contains(strings.Join(cfg.keepArgs, " "), "hush") {
		t.Fatalf("the secret key is an argument (%v)", err)
	}
	before := cfg.told()
	if r, err := cfg.openRepository(); err != nil || r.Objects.SecretKey.Reveal() != "hush" {
		t.Errorf("the secret key is read as %v, %v", r, err)
	}
	if err := os.WriteFile(secret, []byte("another"), 0o600); err != nil || cfg.told() == before {
		t.Errorf("another secret key keeps the keeper that has the one before (%v)", err)
	}
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	if f := examineRepository(t.Context(), cfg, time.Now()); f.level != lacking || !strings.Contains(f.state, "others than you") {
		t.Errorf("a secret key that all can read: %v", f)
	}
}

func TestExamineRepository(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	cfg, err := readSettings(t, "--data", data)
	if err != nil {
		t.Fatal(err)
	}
	if f := examineRepository(t.Context(), cfg, time.Now()); f.level != good || !strings.Contains(f.state, "not made yet") {
		t.Errorf("before the first start: %v", f)
	}
	if err := os.Mkdir(cfg.Repository.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if f := examineRepository(t.Context(), cfg, time.Now()); f.level != fair || !strings.Contains(f.state, "share the disk") &&
		!strings.Contains(f.state, "on the disk") {
		t.Errorf("on the same disk: %v", f)
	}
	if err := os.WriteFile(filepath.Join(data, "seal.key"), nil, 0o600); err != nil { // it has served
		t.Fatal(err)
	}
	others := cfg.Repository
	others.Identity = "another"
	if err := repository.Begin(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	if f := examineRepository(t.Context(), cfg, time.Now()); f.level != lacking || !strings.Contains(f.state, "another Backstay") {
		t.Errorf("begun by another: %v", f)
	}
	if err := os.RemoveAll(cfg.Repository.Dir); err != nil {
		t.Fatal(err)
	}
	if f := examineRepository(t.Context(), cfg, time.Now()); f.level != lacking || !strings.Contains(f.state, "is not there") {
		t.Errorf("gone: %v", f)
	}
}

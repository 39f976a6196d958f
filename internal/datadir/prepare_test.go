package datadir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/datadir"
)

// plan is of a directory with one file of data, by whose content fits knows whether it can be served.
func plan(dir string) datadir.Plan {
	data := filepath.Join(dir, "data")
	return datadir.Plan{
		Product: "Shell 1", Program: "/bin/sh", Dir: data, UID: -1, GID: -1, Files: map[string]string{"conf": "a = 1"},
		Fits: func() error {
			if made, err := os.ReadFile(filepath.Join(data, "made")); err != nil || string(made) != "by 1" {
				return backstay.Wrapf(err, backstay.Unsupported, "The data was made by another one.")
			}
			return nil
		},
		Make: func(part string) error {
			if err := os.Mkdir(part, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(part, "made"), []byte("by 1"), 0o600)
		},
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("%s holds %q (%v), want %q", path, text, err, want)
	}
}

func wantKind(t *testing.T, what string, err error, want backstay.Kind) {
	t.Helper()
	if backstay.KindOf(err) != want {
		t.Errorf("%s: got %v, want it to be %v", what, err, want)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p := plan(t.TempDir())
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "a directory that is missing is reconfigured", p.Reconfigure(), backstay.Unavailable)
	if _, err := os.Lstat(p.Dir); err == nil {
		t.Fatal("it was made")
	}
	if err := p.Prepare(); err != nil {
		t.Fatal(err)
	}
	conf, made := filepath.Join(p.Dir, "conf"), filepath.Join(p.Dir, "made")
	wantFile(t, conf, "a = 1")
	p.Files = map[string]string{"conf": "a = 2"}
	for _, bring := range []func() error{p.Check, p.Reconfigure, p.Prepare} {
		if err := bring(); err != nil {
			t.Error(err)
		}
	}
	wantFile(t, conf, "a = 2")

	p.Files = map[string]string{"conf": "a = 3"}
	if err := os.WriteFile(made, []byte("by 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{"Check": p.Check, "Prepare": p.Prepare, "Reconfigure": p.Reconfigure} {
		wantKind(t, what+" of data that does not fit", do(), backstay.Unsupported)
	}
	p.Program = "/no/such"
	wantKind(t, "a missing program", p.Check(), backstay.Unavailable)
	wantFile(t, conf, "a = 2")
}

func TestTrial(t *testing.T) {
	t.Parallel()
	verdict := func(said string) string {
		_, complaint, _ := strings.Cut(strings.TrimSpace(said), "ERROR ")
		return complaint
	}
	try := func(script string) error {
		return datadir.Trial{
			Product: "Shell 1", Program: "/bin/sh", Args: []string{"conf"}, Env: []string{"PATH=/usr/bin:/bin"},
			UID: -1, GID: -1, Files: map[string]string{"conf": script}, Verdict: verdict,
		}.Run(t.Context())
	}
	old, fresh := abandonedTrial(t, 2*time.Hour), abandonedTrial(t, 0)
	where := filepath.Join(t.TempDir(), "where")
	if err := try("echo a warning >&2; pwd >" + where); err != nil {
		t.Errorf("what is good is refused: %v", err)
	}
	dir, err := os.ReadFile(where)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(strings.TrimSpace(string(dir))); err == nil {
		t.Errorf("%s is left behind", dir)
	}
	if _, err := os.Lstat(old); err == nil {
		t.Error("what a killed process has left stays for ever")
	}
	if _, err := os.Lstat(fresh); err != nil {
		t.Errorf("the trial of another process: %v", err)
	}
	for script, want := range map[string]backstay.Kind{
		"echo ERROR bad >&2; exit 1": backstay.Unsupported,
		"echo ERROR bad >&2":         backstay.Unsupported, // it would go on without
		"exit 1":                     backstay.Unavailable, // for no reason of the configuration
	} {
		wantKind(t, script, try(script), want)
	}
	const sentence = "Shell 1 cannot be configured as it is wanted: no use in conf."
	if said := backstay.SentenceOf(try(`echo "ERROR no use in $PWD/conf." >&2`)); said != sentence {
		t.Errorf("it says %q, want %q", said, sentence)
	}
}

// abandonedTrial is the directory of a trial whose process was killed that long ago.
func abandonedTrial(t *testing.T, age time.Duration) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "backstay-check-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	then := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "conf"), nil, 0o600), os.Chtimes(dir, then, then)); err != nil {
		t.Fatal(err)
	}
	return dir
}

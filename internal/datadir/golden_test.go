package datadir_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/datadir"
)

// golden is made by a shell, which leaves its mark for each time.
func golden(t *testing.T, script string) datadir.Golden {
	t.Helper()
	cache := cacheDir(t)
	return datadir.Golden{
		CacheDir: cache, Name: "shell-1", Release: "1.2", User: "nobody", Recipe: script,
		Env: []string{"PATH=/usr/bin:/bin"},
		Build: func(w *datadir.Workshop) error {
			return w.Run("", "/bin/sh", "-c", script, "sh", w.Data)
		},
		Verdict: func(said string) string { return "it said " + strings.TrimSpace(said) },
	}
}

// cacheDir is one that other users' programs reach.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestGoldenIsMadeOnce(t *testing.T) {
	t.Parallel()
	g := golden(t, `mktemp "$1/made-XXXXXX"`)
	var all errgroup.Group
	for range 8 {
		all.Go(func() error { return g.Make(t.Context()) })
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "clone")
	if err := g.Clone(t.Context(), dst, -1, -1); err != nil {
		t.Fatal(err)
	}
	if made, err := filepath.Glob(filepath.Join(dst, "made-*")); err != nil || len(made) != 1 {
		t.Errorf("a clone holds %v (%v), want the mark of one making", made, err)
	}
}

// What no release of today clones from goes when a new directory is made.
func TestGoldenSweeps(t *testing.T) {
	t.Parallel()
	g := golden(t, "true")
	for _, old := range []string{"shell-1-0.9-abcd", "shell-1-123.part", "shell-1-1.2-of another recipe",
		"shell-10-1.0-abcd"} {
		write(t, filepath.Join(g.CacheDir, old, "f"), "")
	}
	if err := g.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(g.CacheDir, "shell-1-*"))
	if err != nil || len(left) != 2 {
		t.Errorf("the cache holds %v (%v), want those of release 1.2", left, err)
	}
	if _, err := os.Stat(filepath.Join(g.CacheDir, "shell-10-1.0-abcd")); err != nil {
		t.Errorf("another version's: %v", err)
	}
}

// While it is being made, and after, it is private, whatever its makers think of that.
func TestGoldenIsPrivate(t *testing.T) {
	t.Parallel()
	g := golden(t, `touch "$1/f" && stat -c %a "$1/f" >"$1/mode" && mkdir "$1/d" && chmod 777 "$1/d" "$1/mode"`)
	dst := filepath.Join(t.TempDir(), "clone")
	if err := g.Clone(t.Context(), dst, -1, -1); err != nil {
		t.Fatal(err)
	}
	if mode, err := os.ReadFile(filepath.Join(dst, "mode")); string(mode) != "600\n" {
		t.Errorf("a file began with mode %s (%v)", mode, err)
	}
	for _, name := range []string{"", "d", "mode"} {
		info, err := os.Stat(filepath.Join(dst, name))
		if err != nil || info.Mode()&0o077 != 0 {
			t.Errorf("%q: %v (%v)", name, info.Mode(), err)
		}
	}
}

func TestGoldenSaysWhyNot(t *testing.T) {
	t.Parallel()
	g := golden(t, "echo no luck >&2; exit 3")
	err := g.Make(t.Context())
	if got := backstay.SentenceOf(datadir.Blame("The shell",
		err)); got != "The shell cannot be set up: it said no luck." {
		t.Errorf("got %q (%v)", got, err)
	}
	wantEntries(t, g.CacheDir, "shell-1.lock")
	g.Build = func(w *datadir.Workshop) error { return w.Run("", "/no/such/program") }
	err = g.Make(t.Context())
	if got := backstay.SentenceOf(datadir.Blame("The shell",
		err)); got != "The shell cannot be set up: /no/such/program does not run." {
		t.Errorf("got %q (%v)", got, err)
	}
}

// A maker that is told to give up takes all its programs with it; one that is killed leaves them behind,
// and they are waited for.
func TestGoldenMakersEnd(t *testing.T) {
	t.Parallel()
	g := golden(t, `sleep 600 & echo $! >&2; touch "$1/../begun"; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	var child string
	g.Verdict = func(said string) string { child = strings.TrimSpace(said); return said }
	made := make(chan error)
	go func() { made <- g.Make(ctx) }()
	for begun := []string{}; len(begun) == 0; time.Sleep(time.Millisecond) {
		begun, _ = filepath.Glob(filepath.Join(g.CacheDir, "*.part", "begun"))
	}
	cancel()
	if err := <-made; err == nil {
		t.Fatal("it was made after all")
	}
	if err := datadir.Await(g.CacheDir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join("/proc", child, "cwd")); child == "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a program that was run by %q goes on (%v)", child, err)
	}
}

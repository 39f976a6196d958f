package clone_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/backstay/backstay/internal/clone"
)

// installed is a directory as packages fill it, with links of each kind.
func installed(t *testing.T) string {
	t.Helper()
	src := filepath.Join(t.TempDir(), "usr")
	for _, dir := range []string{"bin", "share/x"} {
		must(t, os.MkdirAll(filepath.Join(src, dir), 0o755))
	}
	for name, text := range map[string]string{"bin/program": "1", "bin/other": "2", "share/x/data": "3", "share/y": "4"} {
		must(t, os.WriteFile(filepath.Join(src, name), []byte(text), 0o755))
	}
	for name, target := range map[string]string{
		"bin/alias": "program", "share/x/beside": "data", "share/x/out": "../y", "share/x/away": "/etc/hostname",
	} {
		must(t, os.Symlink(target, filepath.Join(src, name)))
	}
	return src
}

func TestLink(t *testing.T) {
	t.Parallel()
	src, dst := installed(t), filepath.Join(t.TempDir(), "dst")
	must(t, os.WriteFile(filepath.Join(src, "share/x/root"), nil, 0o755))
	must(t, os.Chmod(filepath.Join(src, "share/x/root"), 0o755|os.ModeSetuid))
	must(t, clone.Link(dst, src, []string{"bin/alias", "share/x"}))
	if _, err := os.Lstat(filepath.Join(dst, "share/x/root")); !os.IsNotExist(err) {
		t.Errorf("a program that gives away its owner's rights is kept: %v", err)
	}
	for name, want := range map[string]string{
		"share/x/beside": "data", "share/x/out": filepath.Join(src, "share/y"), "share/x/away": "/etc/hostname",
	} {
		if target, err := os.Readlink(filepath.Join(dst, name)); err != nil || target != want {
			t.Errorf("%s leads to %s (%v), want %s", name, target, err, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(dst, "bin/other")); !os.IsNotExist(err) {
		t.Errorf("what was not named is there: %v", err)
	}
	// A package puts another file in the place of the one before.
	next := filepath.Join(src, "bin/program.new")
	must(t, os.WriteFile(next, []byte("next"), 0o755))
	must(t, os.Rename(next, filepath.Join(src, "bin/program")))
	if text, err := os.ReadFile(filepath.Join(dst, "bin/alias")); err != nil || string(text) != "1" {
		t.Errorf("the program is %q (%v), want the one before", text, err)
	}
	if n := linksOf(t, filepath.Join(dst, "share/x/data")); n != 2 {
		t.Errorf("a file has %d names, want it shared", n)
	}
	if err := clone.Link(filepath.Join(t.TempDir(), "dst"), src, []string{"bin/none"}); err == nil {
		t.Error("what is not there can be linked")
	}
}

// TestLinkToAnotherFileSystem copies.
func TestLinkToAnotherFileSystem(t *testing.T) {
	t.Parallel()
	elsewhere, err := os.MkdirTemp("/dev/shm", "clone-")
	must(t, err)
	defer os.RemoveAll(elsewhere)
	src, dst := installed(t), filepath.Join(elsewhere, "dst")
	must(t, clone.Link(dst, src, []string{"bin", "share/x"}))
	copied := filepath.Join(dst, "bin/program")
	if text, err := os.ReadFile(copied); err != nil || string(text) != "1" || linksOf(t, copied) != 1 {
		t.Errorf("the copy is %q (%v)", text, err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
}

func linksOf(t *testing.T, path string) uint64 {
	t.Helper()
	var stat syscall.Stat_t
	must(t, syscall.Stat(path, &stat))
	return uint64(stat.Nlink)
}

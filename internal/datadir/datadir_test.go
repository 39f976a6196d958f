package datadir_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/datadir"
)

func TestCreateLeavesNothingOfAFailure(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	full := errors.New("full")
	for _, want := range []error{full, nil} {
		err := datadir.Create(dir, func(part string) error {
			if err := os.Mkdir(part, 0o700); err != nil { // also where a killed one left something
				t.Fatal(err)
			}
			return errors.Join(datadir.Fill(part, -1, -1, map[string]string{"f": "whole"}), want)
		})
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if want != nil {
			wantEntries(t, filepath.Dir(dir))
			write(t, filepath.Join(dir+".part", "of one that was killed"), "")
		}
	}
	wantEntries(t, filepath.Dir(dir), "data")
	wantEntries(t, dir, "f")
}

func TestWriteFilesChangesWhatDiffers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "same"), "as it is")
	write(t, filepath.Join(dir, "other"), "as it was")
	write(t, filepath.Join(dir, "new.part"), "of one that was killed")
	before := inode(t, filepath.Join(dir, "same"))
	if err := datadir.WriteFiles(dir, -1, -1, map[string]string{"same": "as it is", "other": "as it should be",
		"new": ""}); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, dir, "new", "other", "same")
	if text, err := os.ReadFile(filepath.Join(dir, "other")); string(text) != "as it should be" {
		t.Errorf("it is %q (%v)", text, err)
	}
	if inode(t, filepath.Join(dir, "same")) != before {
		t.Error("a file that was right is another now")
	}
}

// A server that was broken into may have put links in its directory.
func TestWriteFilesStaysInside(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	write(t, outside, "precious")
	for _, name := range []string{"conf", "conf.part"} {
		if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := datadir.WriteFiles(dir, -1, -1, map[string]string{"conf": "ours"}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(outside); string(text) != "precious" {
		t.Errorf("outside there is %q now (%v)", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "conf")); string(text) != "ours" {
		t.Errorf("inside there is %q (%v)", text, err)
	}
}

func TestBlame(t *testing.T) {
	t.Parallel()
	known := backstay.Errorf(backstay.Invalid, "Known.")
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"full", &os.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC},
			"X 1 cannot be set up: no space is left on the disk."},
		{"quota", syscall.EDQUOT, "X 1 cannot be set up: no space is left on the disk."},
		{"denied", &os.PathError{Op: "open", Path: "/secret", Err: syscall.EACCES},
			"X 1 cannot be set up: permission denied."},
		{"strange", errors.New("open /secret"),
			"X 1 cannot be set up: an unexpected failure, which the keeper's log explains."},
		{"known", known, "Known."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := backstay.SentenceOf(datadir.Blame("X 1", tc.err)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("there is %q, want %q", names, want)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

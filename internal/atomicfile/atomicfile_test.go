package atomicfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/internal/atomicfile"
)

func mustWrite(t *testing.T, path string, data []byte, perm os.FileMode) {
	t.Helper()
	if err := atomicfile.Write(path, data, perm); err != nil {
		t.Fatal(err)
	}
}

func TestWriteReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	for _, step := range []struct {
		data string
		perm fs.FileMode
	}{{"first", 0o600}, {"second, and longer", 0o644}, {"", 0o400}, {"over what is read-only", 0o600}} {
		mustWrite(t, path, []byte(step.data), step.perm)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != step.data {
			t.Errorf("it holds %q, %v; want %q", got, err, step.data)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != step.perm {
			t.Errorf("its mode is %v, %v; want %v", info.Mode(), err, step.perm)
		}
	}
	checkOnly(t, path)
}

// checkOnly looks for what Write may have left.
func checkOnly(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("there are %v, %v; want %s alone", entries, err, path)
	}
}

// TestReadersSeeOneOrTheOther reads while the file is replaced, again and again.
func TestReadersSeeOneOrTheOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	mustWrite(t, path, contents[0], 0o600)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 50 && err == nil; i++ {
			err = atomicfile.Write(path, contents[i%2], 0o600)
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			checkOnly(t, path)
			return
		default:
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("a reader saw %d bytes that are neither, %v", len(got), err)
		}
	}
}

// TestFailureLeavesTheOldFile, and nothing else.
func TestFailureLeavesTheOldFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.Mkdir(path, 0o700); err != nil { // no file can take the place of a directory
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("new"), 0o600); err == nil {
		t.Error("a directory was replaced by a file")
	}
	checkOnly(t, path)
	if err := atomicfile.Write(filepath.Join(path, "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Write below what is not there: %v", err)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	mustWrite(t, path, nil, 0o600)
	for range 2 {
		if err := atomicfile.Remove(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

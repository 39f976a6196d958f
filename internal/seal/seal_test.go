package seal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
)

var key = seal.Key{1, 2, 3}

func TestOpenIsTheInverse(t *testing.T) {
	t.Parallel()
	for _, plain := range [][]byte{nil, []byte("hunter2"), bytes.Repeat([]byte{0}, 1<<16)} {
		sealed := key.Seal(plain, "binding/1")
		if got, err := key.Open(sealed, "binding/1"); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes came back as %d (%v)", len(plain), len(got), err)
		}
		if len(plain) > 0 && bytes.Contains(sealed, plain) {
			t.Error("the plain text shows")
		}
		if bytes.Equal(sealed, key.Seal(plain, "binding/1")) {
			t.Error("the same text sealed twice looks the same")
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	sealed := key.Seal([]byte("hunter2"), "binding/1")
	if _, err := key.Open(sealed, "binding/2"); err == nil {
		t.Error("it was moved to another row")
	}
	if _, err := (seal.Key{1}).Open(sealed, "binding/1"); err == nil {
		t.Error("another key opened it")
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if _, err := key.Open(damaged, "binding/1"); err == nil {
			t.Errorf("byte %d was changed, and nobody noticed", i)
		}
		if _, err := key.Open(sealed[:i], "binding/1"); err == nil {
			t.Errorf("it was cut to %d bytes, and nobody noticed", i)
		}
	}
}

func TestZeroKeyPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a key that was never loaded sealed something")
		}
	}()
	seal.Key{}.Seal([]byte("hunter2"), "binding/1")
}

func TestCreate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seal.key")
	made := make([]error, 8)
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() { made[i] = seal.New().Create(path) })
	}
	all.Wait()
	count := 0
	for _, err := range made {
		if err == nil {
			count++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	if k, err := seal.Load(path); err != nil || k == (seal.Key{}) || count != 1 {
		t.Errorf("%d keys were made, and %v", count, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the key's file is %v (%v), want 0600", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0a", 32) + "\n"
	for name, tc := range map[string]struct {
		text string
		mode fs.FileMode
		want string
	}{
		"readable by the group": {good, 0o640, "chmod 600"},
		"writable by others":    {good, 0o602, "chmod 600"},
		"empty":                 {"", 0o600, "64 hexadecimal digits"},
		"too short":             {good[2:], 0o600, "64 hexadecimal digits"},
		"too long":              {"0a" + good, 0o600, "64 hexadecimal digits"},
		"not hexadecimal":       {strings.Repeat("0g", 32), 0o600, "64 hexadecimal digits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "seal.key")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := seal.Load(path)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q and the path", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "0a0a") {
				t.Errorf("the error shows the key: %v", err)
			}
			if text, _ := os.ReadFile(path); string(text) != tc.text {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := seal.Load(t.TempDir()); err == nil {
		t.Error("a directory was taken for a key")
	}
	if _, err := seal.Load(filepath.Join(t.TempDir(), "seal.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that is not there: %v", err)
	}
	if err := seal.New().Create(filepath.Join(t.TempDir(), "missing", "seal.key")); err == nil {
		t.Error("a directory was made up")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(key.Seal([]byte("hunter2"), "binding/1"), "binding/1")
	f.Add(key.Seal(nil, ""), "")
	f.Add([]byte{1}, "binding/1")
	mine := map[string]bool{"hunter2": true, "": true}
	f.Fuzz(func(t *testing.T, sealed []byte, context string) {
		if plain, err := key.Open(sealed, context); err == nil && !mine[string(plain)] {
			t.Errorf("opened what was never sealed: %q", plain)
		}
	})
}

// TestDerive makes a key that is the same each time, and another one for another purpose and from another key: what is
// derived opens backups on a machine that has nothing but the key file.
func TestDerive(t *testing.T) {
	t.Parallel()
	key, other := seal.Key{1}, seal.Key{2}
	const want = "76348c2ce4db91d69d18c5a08cb842032c1a725c5809b0e865459681b085d22e"
	derived := key.Derive("backups")
	if derived.Reveal() != want {
		t.Errorf("the derived key is %s, and was %s when backups were made with it", derived.Reveal(), want)
	}
	for name, another := range map[string]backstay.Secret{
		"another purpose": key.Derive("backups of another"), "another key": other.Derive("backups"),
	} {
		if another == derived || len(another) != len(derived) {
			t.Errorf("the key for %s is that of the first, or has another size", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a key that was never loaded derives another")
		}
	}()
	seal.Key{}.Derive("backups")
}

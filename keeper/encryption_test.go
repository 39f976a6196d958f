package keeper_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// withEncryption is the configuration of a keeper whose instances can be encrypted. The test is skipped where they cannot.
func withEncryption(t testing.TB, room int) keeper.Config {
	t.Helper()
	c := keepertest.WithImages(t, room)
	if err := imagesOf(c).TryEncrypted(t.Context()); err != nil {
		t.Skip(err)
	}
	return c
}

// TestEncryptedInstance writes a marker by SQL, also into the engine's log, and looks for it and for the key wherever
// the keeper has files, also in the image: the marker is nowhere, and the key only in the record. The instance comes
// up again without anybody's help, and takes its key with it when it goes.
func TestEncryptedInstance(t *testing.T) {
	t.Parallel()
	const marker = "marker-that-is-looked-for"
	c := withEncryption(t, 2)
	b, stopKeeping := keepertest.Run(t, c)
	if i, err := b.Inventory(t.Context()); err != nil || i.Encryption != "fscrypt" {
		t.Errorf("the inventory tells %q, %v", i.Encryption, err)
	}
	spec := newSpec(t)
	spec.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(strings.Repeat("0123456789abcdef", 4))}
	mustApplySpec(t, b, spec)
	until(t, b, spec.Instance, running)
	conn := mustUser(t, b, spec.Instance)
	for _, sql := range []string{
		"CREATE TABLE kept AS SELECT '" + marker + "' AS n FROM generate_series(1, 10000)", "CREATE INDEX ON kept (n)",
		`CREATE TABLE "` + marker + `" ()`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT '"+marker+"'::int"); err == nil {
		t.Fatal("a statement that the log quotes did not fail")
	}
	log := filepath.Join(c.DataDir, "instances", string(spec.Instance), "log", "engine.log")
	if !holds(t, log, marker) {
		t.Error("the engine's log does not quote the statement: the test looks at the wrong place")
	}
	conn.Close(t.Context())
	unix.Sync()
	if found := filesWith(t, c.DataDir, marker); len(found) > 0 {
		t.Errorf("the marker is in %v", found)
	}
	record := recordPath(c, spec.Instance)
	if found := filesWith(t, c.DataDir, spec.Volume.Key.Reveal()); len(found) > 1 || len(found) == 1 && found[0] != record {
		t.Errorf("the key is in %v", found)
	}

	stopKeeping()
	stopEngines(t, c)
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	if _, err := mustUser(t, b, spec.Instance).Exec(t.Context(), "SELECT n FROM kept"); err != nil {
		t.Errorf("what was written before: %v", err)
	}
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	checkNothingLeft(t, c)
	checkNoVolume(t, c)
	if found := filesWith(t, c.DataDir, spec.Volume.Key.Reveal()); len(found) > 0 {
		t.Errorf("behind the removal, the key is in %v", found)
	}
}

// filesWith lists files of the disk that dir is on that have text in them. What is mounted below dir is not looked at.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	var top unix.Stat_t
	if err := unix.Stat(dir, &top); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		var here unix.Stat_t
		if err != nil || unix.Lstat(path, &here) != nil {
			return nil // it has gone
		}
		if entry.IsDir() && here.Dev != top.Dev {
			return fs.SkipDir
		}
		if entry.Type().IsRegular() && holds(t, path, text) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// holds tells whether what was written of a file has text in it.
func holds(t *testing.T, path, text string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		return false // it has gone
	}
	defer f.Close()
	for end := int64(0); ; {
		at, err := f.Seek(end, unix.SEEK_DATA)
		if err != nil { // there is nothing more
			return false
		}
		if end, err = f.Seek(at, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		written := make([]byte, end-at)
		if _, err := f.ReadAt(written, at); err == nil && bytes.Contains(written, []byte(text)) {
			return true
		}
	}
}

// TestEncryptionNeverChanges: an instance is encrypted from its beginning, with its own key, or never.
func TestEncryptionNeverChanges(t *testing.T) {
	t.Parallel()
	c := withEncryption(t, 2)
	b, _ := keepertest.Run(t, c)
	encrypted, plain := newSpec(t), mustApply(t, b)
	encrypted.Volume = backend.Volume{Encrypted: true, Key: "a key"}
	mustApplySpec(t, b, encrypted)
	until(t, b, encrypted.Instance, running)
	encrypted.Generation, plain.Generation = 2, 2
	plain.Volume = encrypted.Volume
	other, none, odd := encrypted, encrypted, newSpec(t)
	other.Volume.Key, none.Volume = "another key", backend.Volume{}
	odd.Volume.Encrypted = true
	for what, tc := range map[string]struct {
		spec backend.Spec
		kind backstay.Kind
	}{
		"encrypting what is plain": {plain, backstay.Unsupported}, "another key": {other, backstay.Unsupported},
		"no encryption any more": {none, backstay.Unsupported}, "no key": {odd, backstay.Invalid},
	} {
		if err := b.Apply(t.Context(), tc.spec); backstay.KindOf(err) != tc.kind {
			t.Errorf("%s: %v, want %v", what, err, tc.kind)
		}
	}
}

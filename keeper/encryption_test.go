package keeper_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/volume"
)

// withEncryption is the configuration of a keeper whose instances can be encrypted. The test is skipped where they cannot.
func withEncryption(t testing.TB, room int) keeper.Config {
	t.Helper()
	c := keepertest.WithImages(t, room)
	if _, err := imagesOf(c).Encryption(t.Context()); err != nil {
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
	way, err := imagesOf(c).Encryption(t.Context())
	if i, invErr := b.Inventory(t.Context()); errors.Join(err, invErr) != nil || i.Encryption != way {
		t.Errorf("the inventory tells %q, want %q: %v %v", i.Encryption, way, err, invErr)
	}
	spec := newSpec(t)
	spec.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(strings.Repeat("0123456789abcdef", 4))}
	mustApplySpec(t, b, spec)
	until(t, b, spec.Instance, running)
	if s, err := b.Storage(t.Context(), spec.Instance); err != nil || s.Encryption != way {
		t.Errorf("the instance is encrypted by %q, want %q: %v", s.Encryption, way, err)
	}
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

// TestEnginesOnEncryptedVolumes: what each engine has acknowledged is there when it was killed, and when its volume was
// mounted anew.
func TestEnginesOnEncryptedVolumes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("three engines are started three times each")
	}
	c := withEncryption(t, len(products))
	c.Engines["mysql"], c.Engines["redis"] = mysql.Engine{}, redis.Engine{}
	b, stopKeeping := keepertest.Run(t, c)
	var specs []backend.Spec
	for _, p := range products {
		spec := specOf(t, p)
		spec.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(p.engine)}
		mustApplySpec(t, b, spec)
		specs = append(specs, spec)
	}
	credentials := make([]backstay.Credentials, len(products))
	for i, p := range products {
		until(t, b, specs[i].Instance, running)
		credentials[i] = mustCredentials(t, b, specs[i].Instance)
		w, err := p.open(t.Context(), credentials[i])
		if err == nil {
			err = errors.Join(w.write(t.Context(), 0), w.write(t.Context(), 42))
			w.close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.engine != "redis" { // which may lose its last two seconds
			mustKill(t, mustPID(t, b, specs[i].Instance))
		}
	}
	for i, p := range products {
		mustHold42(t, p, credentials[i])
	}
	stopKeeping()
	stopEngines(t, c)
	keepertest.Run(t, c)
	for i, p := range products {
		mustHold42(t, p, credentials[i])
	}
}

// mustHold42 waits until the instance answers, and reads what was written to it.
func mustHold42(t *testing.T, p product, c backstay.Credentials) {
	t.Helper()
	var value int
	var w writer
	err := errors.New("it was not asked")
	for began := time.Now(); err != nil && time.Since(began) < limit; time.Sleep(20 * time.Millisecond) {
		if w, err = p.open(t.Context(), c); err != nil {
			continue
		}
		const query = "SELECT n FROM probe"
		switch w := w.(type) {
		case postgresWriter:
			err = w.QueryRow(t.Context(), query).Scan(&value)
		case mysqlWriter:
			err = w.QueryRowContext(t.Context(), query).Scan(&value)
		case redisWriter:
			value, err = w.Get(t.Context(), "probe").Int()
		}
		w.close()
	}
	if err != nil || value != 42 {
		t.Errorf("%s holds %d, want 42: %v", p.engine, value, err)
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

// TestProofOfAnEncryptedInstance looks at the raw disk behind a proof: what was restored for it never lay there in clear.
func TestProofOfAnEncryptedInstance(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("an instance is copied and proved twice")
	}
	const marker = "marker-that-no-proof-shows"
	c := withEncryption(t, 1)
	image := onDiskImage(t, c)
	c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
	b, stopKeeping := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(strings.Repeat("0123456789abcdef", 4))}
	mustReach(t, b, spec)
	stopKeeping()
	left := volume.Wanted{Size: backstay.GB, Key: "of a keeper that was killed in a proof"}
	if _, err := imagesOf(c).Ensure(t.Context(), spec.Instance+"+proof", left); err != nil {
		t.Fatal(err)
	}
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	conn := mustUser(t, b, spec.Instance)
	_, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT '"+marker+"' AS n FROM generate_series(1, 10000)")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	spec.Generation++
	spec.Backup = backedUp(t).Backup
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, atLeast(1))
	if p, err := b.Prove(t.Context(), spec.Instance); err != nil || p.Reason != "" {
		t.Fatalf("the backup is proved as %+v, %v", p, err)
	}
	checkNoProof(t, c)
	unix.Sync()
	if holds(t, image, marker) {
		t.Error("the marker is on the disk")
	}
	found, err := imagesOf(c).Found()
	if err != nil || len(found) != 1 {
		t.Errorf("behind a proof there are the volumes %v, %v", found, err)
	}
}

// onDiskImage gives the keeper a disk of its own, whose blocks are those of the file that it returns.
func onDiskImage(t *testing.T, c keeper.Config) (image string) {
	t.Helper()
	image = filepath.Join(testkit.Dir(t), "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 8<<30)); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, c.DataDir}} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() {
		stopEngines(t, c)
		if err := unix.Unmount(c.DataDir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(c.DataDir, 0o711); err != nil {
		t.Fatal(err)
	}
	return image
}

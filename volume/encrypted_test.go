package volume_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/volume"
)

// TestImageHoldsNoMarker writes a marker into a file, into a file's name and into a directory's, and looks for it and
// for the key in the image of the volume: in that of an encrypted one it is not, while it is mounted and behind that.
func TestImageHoldsNoMarker(t *testing.T) {
	const marker, id = "marker-that-is-looked-for", backstay.InstanceID("marked")
	eachKind(t, func(t *testing.T, p images) {
		dir := filepath.Join(mustEnsure(t, p, id, backstay.GB), marker+"-directory")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		text := bytes.Repeat([]byte(marker+" "), 1000)
		if err := os.WriteFile(filepath.Join(dir, marker+"-file"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		flush(t, dir)
		image := filepath.Join(p.Root, string(id)+".img")
		if found := holds(t, image, marker); found != (p.key == "") {
			t.Errorf("the image of a volume with key %t holds the marker: %t", p.key != "", found)
		}
		if p.key != "" && holds(t, image, p.key.Reveal()) {
			t.Error("the image holds the key")
		}
	})
}

// flush has the file system write everything to its image.
func flush(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err == nil {
		err = unix.Syncfs(int(f.Fd()))
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// holds tells whether what was written of a file has text in it.
func holds(t *testing.T, path, text string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := false
	err = volume.EachWritten(f, func(at, length int64) error {
		written, err := io.ReadAll(io.NewSectionReader(f, at, length))
		found = found || bytes.Contains(written, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestKeyIsTheVolumes sees that a volume opens with its own key only, and that a plain and an encrypted one stay so.
func TestKeyIsTheVolumes(t *testing.T) { t.Parallel(); eachWay(t, testKeyIsTheVolumes) }

func testKeyIsTheVolumes(t *testing.T, p images) {
	file := filepath.Join(mustEnsure(t, p, "locked", backstay.GB), "file")
	if err := os.WriteFile(file, []byte("written"), 0o600); err != nil {
		t.Fatal(err)
	}
	ensure := func(key backstay.Secret) backstay.Kind {
		_, err := p.Images.Ensure(t.Context(), "locked", volume.Wanted{Size: backstay.GB, Key: key})
		return backstay.KindOf(err)
	}
	if kind := ensure("another key"); kind != backstay.Invalid {
		t.Errorf("an encrypted volume with another key: %v, want Invalid", kind)
	}
	if kind := ensure(""); kind != backstay.Unsupported {
		t.Errorf("an encrypted volume without a key: %v, want Unsupported", kind)
	}
	mustEnsure(t, p, "locked", 2*backstay.GB)
	if text, err := os.ReadFile(file); err != nil || string(text) != "written" {
		t.Errorf("the file holds %q: %v", text, err)
	}
	if _, err := p.Images.Ensure(t.Context(), "open", volume.Wanted{Size: backstay.GB}); err != nil {
		t.Fatal(err)
	}
	_, err := p.Ensure(t.Context(), "open", volume.Wanted{Size: backstay.GB})
	if backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("a plain volume with a key: %v, want Unsupported", err)
	}
}

// TestInodesAreCounted makes many files with nothing in them: what they take of the pool is counted as the volume's.
func TestInodesAreCounted(t *testing.T) {
	t.Parallel()
	p := newEncrypted(t, "fscrypt")
	dir := mustEnsure(t, p, "many", backstay.GB)
	before := mustUsage(t, p, "many")
	const files = 4000
	for i := range files {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if _, err := p.Balance(); err != nil {
		t.Fatal(err)
	}
	after := mustUsage(t, p, "many")
	if used := after.Used - before.Used; used < files*256 || after.Used+after.Free+after.Held != backstay.GB {
		t.Errorf("%d files are counted as %v, of %+v", files, used, after)
	}
}

// TestDirectoriesAreNotEncrypted sees that nothing is taken for encrypted that is not.
func TestDirectoriesAreNotEncrypted(t *testing.T) {
	t.Parallel()
	p := &volume.Directories{Root: testkit.Dir(t)}
	if _, err := p.Ensure(t.Context(), "id", volume.Wanted{Key: "key"}); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("a directory with a key: %v, want Unsupported", err)
	}
}

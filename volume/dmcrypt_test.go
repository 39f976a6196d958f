package volume_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/volume"
)

// TestMappingThatWasLeft has a mapping be there that nobody uses, as a program leaves it that is killed before it mounts:
// the volume is mounted all the same, with its own key, and removed.
func TestMappingThatWasLeft(t *testing.T) {
	t.Parallel()
	p := newEncrypted(t, "dm-crypt")
	file := filepath.Join(mustEnsure(t, p, "left", backstay.GB), "file")
	if err := os.WriteFile(file, []byte("written"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(p.Root, "left.img")
	mustUnmount(t, p, "left")
	leaveMapping(t, p, image)
	mustEnsure(t, p, "left", backstay.GB)
	if text, err := os.ReadFile(file); string(text) != "written" {
		t.Errorf("the file holds %q: %v", text, err)
	}
	mustUnmount(t, p, "left")
	leaveMapping(t, p, image)
	if err := p.Remove(t.Context(), "left"); err != nil {
		t.Error(err)
	}
	checkNothingLeft(t, p.Images)

	mustEnsure(t, p, "left", backstay.GB)
	mustUnmount(t, p, "left")
	leaveMapping(t, p, image)
	if err := os.Rename(image, image+".new"); err != nil { // as if it had been killed while it made the image
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(mustEnsure(t, p, "left", backstay.GB)); err != nil || len(entries) > 1 {
		t.Errorf("a new volume holds %v %v", entries, err)
	}
}

// leaveMapping opens an image, and leaves it open.
func leaveMapping(t *testing.T, p images, image string) {
	t.Helper()
	name := volume.MappingOf(t, image)
	for began := time.Now(); len(loopsBelow(t, p.Root)) > 0 && time.Since(began) < time.Second; {
		time.Sleep(time.Millisecond) // until the kernel has removed the one before
	}
	cmd := exec.CommandContext(t.Context(), "cryptsetup", "open", "--type", "luks2", "--key-file", "-", image, name)
	cmd.Stdin = strings.NewReader(p.key.Reveal())
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("open %s: %v %s", image, err, output)
	}
}

func mustUnmount(t *testing.T, p volume.Pool, id backstay.InstanceID) {
	t.Helper()
	if err := p.Unmount(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// TestHeaderIsDestroyed sees that what is left on the disk of a volume that was removed cannot be opened with its key.
func TestHeaderIsDestroyed(t *testing.T) {
	t.Parallel()
	p := newEncrypted(t, "dm-crypt")
	mustEnsure(t, p, "gone", backstay.GB)
	image, err := os.Open(filepath.Join(p.Root, "gone.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	read := func() []byte {
		header, err := io.ReadAll(io.NewSectionReader(image, 0, int64(backstay.MB)))
		if err != nil {
			t.Fatal(err)
		}
		return header
	}
	if header := read(); !bytes.HasPrefix(header, []byte("LUKS\xba\xbe")) {
		t.Fatalf("the image begins with %q", header[:8])
	}
	if err := p.Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if header := read(); !bytes.Equal(header, make([]byte, backstay.MB)) {
		t.Error("the header of a removed volume is still on the disk")
	}
}

// TestWhatIsDeletedIsGivenBack sees that the pool gets back what files took, also below encryption.
func TestWhatIsDeletedIsGivenBack(t *testing.T) { eachKind(t, testWhatIsDeletedIsGivenBack) }

func testWhatIsDeletedIsGivenBack(t *testing.T, p images) {
	dir := mustEnsure(t, p, "deleted", backstay.GB)
	const size = 64 * backstay.MB
	mustWrite(t, filepath.Join(dir, "file"), size)
	full := allocated(t, p, "deleted")
	if err := os.Remove(filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		flush(t, dir)
		now := allocated(t, p, "deleted")
		if full-now > size/2 {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the image had %v with a file of %v, and has %v without it", full, size, now)
		}
	}
}

// allocated is what the image of a volume takes of the pool.
func allocated(t *testing.T, p images, id backstay.InstanceID) backstay.Bytes {
	t.Helper()
	var image unix.Stat_t
	if err := unix.Stat(filepath.Join(p.Root, string(id)+".img"), &image); err != nil {
		t.Fatal(err)
	}
	return backstay.Bytes(image.Blocks * 512)
}

// TestVolumesKeepTheirWay sees that a volume is what it was made as, whatever new ones are made as.
func TestVolumesKeepTheirWay(t *testing.T) { t.Parallel(); eachWay(t, testVolumesKeepTheirWay) }

func testVolumesKeepTheirWay(t *testing.T, p images) {
	file := filepath.Join(mustEnsure(t, p, "old", backstay.GB), "file")
	if err := os.WriteFile(file, []byte("written"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range volume.Ways() {
		p.EncryptBy(way)
		mustUnmount(t, p, "old")
		mustEnsure(t, p, "old", backstay.GB)
		if text, err := os.ReadFile(file); string(text) != "written" {
			t.Errorf("the file holds %q: %v", text, err)
		}
		if kept, err := p.EncryptedBy("old"); err != nil || kept != p.way {
			t.Errorf("a volume made by %s is by %s: %v", p.way, kept, err)
		}
	}
}

package volume_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/volume"
)

// TestLargeSectors has volumes on a disk that reads and writes no less than 4096 bytes at once.
func TestLargeSectors(t *testing.T) {
	eachKind(t, func(t *testing.T, p images) {
		disk := largeSectors(t, filepath.Dir(p.Root))
		p.Images = imagesIn(disk, 64*backstay.MB)
		t.Cleanup(func() { checkNothingLeft(t, p.Images) })
		if p.way != "" {
			p.EncryptBy(p.way)
		}
		if why := p.Try(t.Context()); why != nil {
			t.Fatalf("there can be no volumes: %v", why)
		}
		dir, err := p.Ensure(t.Context(), "volume", volume.Wanted{Size: backstay.GB})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("written"), 0o600); err != nil {
			t.Error(err)
		}
		if again, err := os.ReadFile(filepath.Join(dir, "file")); string(again) != "written" {
			t.Errorf("read %q, %v", again, err)
		}
	})
}

// largeSectors returns a directory on a disk whose sectors have 4096 bytes.
func largeSectors(t *testing.T, in string) (disk string) {
	t.Helper()
	disk, image := filepath.Join(in, "large"), filepath.Join(in, "disk")
	run := func(command ...string) string {
		output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput()
		if err != nil {
			t.Skipf("There is no disk with large sectors: %v: %v %s", command, err, output)
		}
		return strings.TrimSpace(string(output))
	}
	run("truncate", "-s", "1G", image)
	device := run("losetup", "--find", "--show", "--sector-size", "4096", image)
	detach := func() { // from the moment when it is mounted no more
		if err := exec.Command("losetup", "--detach", device).Run(); err != nil {
			t.Error(err)
		}
	}
	defer detach()
	run("mkfs.ext4", "-q", "-b", "4096", device)
	run("mkdir", disk)
	run("mount", device, disk)
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	return disk
}

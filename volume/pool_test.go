package volume_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/volume"
)

// TestPools leads a volume of each kind of pool through its life.
func TestPools(t *testing.T) {
	t.Parallel()
	t.Run("Images", func(t *testing.T) { t.Parallel(); leadLife(t, newImages(t)) })
	eachWay(t, func(t *testing.T, p images) { leadLife(t, p) })
	t.Run("Directories", func(t *testing.T) { t.Parallel(); leadLife(t, &volume.Directories{Root: testkit.Dir(t)}) })
}

func leadLife(t *testing.T, p volume.Pool) {
	const id, other = backstay.InstanceID("8c8c"), backstay.InstanceID("9d9d")
	if _, err := p.Usage(id); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("usage of no volume: %v, want NotFound", err)
	}
	dir := mustEnsure(t, p, id, backstay.GB)
	before := mustUsage(t, p, id)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 8*backstay.MB), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := mustEnsure(t, p, id, 2*backstay.GB); again != dir {
		t.Errorf("the volume was at %s and is at %s", dir, again)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != int64(8*backstay.MB) {
		t.Errorf("the file behind a second Ensure: %v %v", info, err)
	}
	if used := mustUsage(t, p, id).Used - before.Used; used < 8*backstay.MB {
		t.Errorf("8MB more in the volume are counted as %v", used)
	}
	mustEnsure(t, p, other, backstay.GB)
	if found, err := p.Found(); err != nil || !slices.Equal(found, []backstay.InstanceID{id, other}) {
		t.Errorf("found %v %v", found, err)
	}
	for range 2 {
		if err := p.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := p.Found(); err != nil || !slices.Equal(found, []backstay.InstanceID{other}) {
		t.Errorf("found %v %v behind the removal", found, err)
	}
	if entries, err := os.ReadDir(mustEnsure(t, p, id, backstay.GB)); err != nil || len(entries) > 1 {
		t.Errorf("a new volume holds %v %v", entries, err)
	}
	if _, err := p.Balance(); err != nil {
		t.Error(err)
	}
}

// TestTrySaysWhy sees that a machine without mkfs.xfs is told so.
func TestTrySaysWhy(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if why := imagesIn(testkit.Dir(t), 0).Try(t.Context()); backstay.KindOf(why) != backstay.Unsupported {
		t.Errorf("images without mkfs.xfs: %v, want Unsupported", why)
	}
}

// TestMountTakesWhatIsThere sees that Mount brings back what was unmounted, with its size, and makes nothing.
func TestMountTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	t.Run("Images", func(t *testing.T) {
		eachKind(t, func(t *testing.T, p images) {
			comeAndGo(t, p)
			if usage := mustUsage(t, p, "8c8c"); usage.Used+usage.Free+usage.Held != backstay.GB {
				t.Errorf("a volume of 1GB that was mounted again has %+v", usage)
			}
		})
	})
	t.Run("Directories", func(t *testing.T) { t.Parallel(); comeAndGo(t, &volume.Directories{Root: testkit.Dir(t)}) })
}

func comeAndGo(t *testing.T, p volume.Pool) {
	const id = backstay.InstanceID("8c8c")
	if _, err := p.Mount(t.Context(), id, volume.Wanted{Size: backstay.GB}); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("mount no volume: %v, want NotFound", err)
	}
	file := filepath.Join(mustEnsure(t, p, id, backstay.GB), "file")
	if err := os.WriteFile(file, []byte("written"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Unmount(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Mount(t.Context(), id, volume.Wanted{}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); string(text) != "written" {
		t.Errorf("the file behind Unmount and Mount: %q %v", text, err)
	}
}

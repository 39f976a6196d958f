package volume_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/volume"
)

// TestMain runs the tests in a process that has mounts of its own, where that can be had: they go with it, and with them
// their loop devices, however it ends.
func TestMain(m *testing.M) {
	if root := os.Getenv(lifeVariable); root != "" {
		os.Exit(liveUntilDead(root, os.Getenv(stepVariable)))
	}
	if code, walled := testkit.RunWalled(); walled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// imagesIn is a pool of images in a directory.
func imagesIn(dir string, reserve backstay.Bytes) *volume.Images {
	return &volume.Images{Root: filepath.Join(dir, "images"), Mounts: filepath.Join(dir, "mounts"), Reserve: reserve}
}

// images is a pool whose volumes are all encrypted by one way with one key, or are all plain.
type images struct {
	*volume.Images
	way string
	key backstay.Secret
}

func (p images) Ensure(ctx context.Context, id backstay.InstanceID, wanted volume.Wanted) (string, error) {
	wanted.Key = p.key
	return p.Images.Ensure(ctx, id, wanted)
}

func (p images) Mount(ctx context.Context, id backstay.InstanceID, wanted volume.Wanted) (string, error) {
	wanted.Key = p.key
	return p.Images.Mount(ctx, id, wanted)
}

// eachKind runs a test with plain volumes and with encrypted ones.
func eachKind(t *testing.T, test func(*testing.T, images)) {
	t.Parallel()
	t.Run("Plain", func(t *testing.T) { t.Parallel(); test(t, newImages(t)) })
	eachWay(t, test)
}

// eachWay runs a test with volumes that are encrypted, by each way.
func eachWay(t *testing.T, test func(*testing.T, images)) {
	for _, way := range volume.Ways() {
		t.Run(way, func(t *testing.T) { t.Parallel(); test(t, newEncrypted(t, way)) })
	}
}

// tried is why this machine cannot encrypt volumes, by ways: it takes long to find out in an emulated one.
var tried = struct {
	sync.Mutex
	why map[string]error
}{why: map[string]error{}}

// newEncrypted returns an empty pool of encrypted images, or skips the test.
func newEncrypted(t *testing.T, way string) images {
	t.Helper()
	p := newImages(t)
	p.EncryptBy(way)
	tried.Lock()
	defer tried.Unlock()
	if _, known := tried.why[way]; !known {
		tried.why[way] = p.TryEncrypted(t.Context())
	}
	if why := tried.why[way]; why != nil {
		t.Skipf("%v (%v)", why, errors.Unwrap(why))
	}
	p.way, p.key = way, backstay.Secret(rand.Text())
	return p
}

// newImages returns an empty pool of images, or skips the test with the reason why there can be none. Behind the test,
// nothing may be left of it.
func newImages(t *testing.T) images {
	t.Helper()
	p := images{Images: imagesIn(testkit.Dir(t), 64*backstay.MB)}
	if !testkit.Walled() {
		t.Skip("Nothing is mounted by a test that has no mounts of its own: that takes root.")
	}
	if err := p.Try(t.Context()); err != nil {
		t.Skipf("%v (%v)", err, errors.Unwrap(err))
	}
	t.Cleanup(func() { checkNothingLeft(t, p.Images) })
	return p
}

// checkNothingLeft removes what volumes there are, and looks for what they should have taken with them.
func checkNothingLeft(t *testing.T, p *volume.Images) {
	t.Helper()
	found, err := p.Found()
	if err != nil {
		t.Error(err)
	}
	for _, id := range found {
		if err := p.Remove(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), filepath.Dir(p.Root)+"/") {
		t.Errorf("mounts are left below %s: %s %v", filepath.Dir(p.Root), mounts, err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // the kernel may still remove an encrypted device over it
		left := loopsBelow(t, p.Root)
		if len(left) == 0 {
			break
		}
		if time.Since(began) > time.Second {
			t.Errorf("loop devices are left on %q", left)
			break
		}
	}
	left, err := filepath.Glob(p.Root + "/*")
	points, globErr := filepath.Glob(p.Mounts + "/*")
	for _, path := range append(left, points...) {
		if !strings.HasPrefix(filepath.Base(path), "prepared") {
			t.Errorf("%s is left", path)
		}
	}
	if err := errors.Join(err, globErr); err != nil {
		t.Error(err)
	}
}

// loopsBelow lists the images below a directory that are attached.
func loopsBelow(t *testing.T, dir string) (images []string) {
	t.Helper()
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Error(err)
	}
	for _, path := range backing {
		if name, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(name), dir+"/") {
			images = append(images, string(name))
		}
	}
	return images
}

func mustEnsure(t *testing.T, p volume.Pool, id backstay.InstanceID, size backstay.Bytes) (dir string) {
	t.Helper()
	dir, err := p.Ensure(t.Context(), id, volume.Wanted{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustUsage(t *testing.T, p volume.Pool, id backstay.InstanceID) volume.Usage {
	t.Helper()
	usage, err := p.Usage(id)
	if err != nil {
		t.Fatal(err)
	}
	return usage
}

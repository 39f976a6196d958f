package keeper_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/volume"
)

// imagesOf is the pool of a keeper's images.
func imagesOf(c keeper.Config) *volume.Images {
	return &volume.Images{Root: filepath.Join(c.DataDir, "volumes"), Mounts: filepath.Join(c.DataDir, "instances")}
}

// sizeOf is how large an instance's volume is; 0: it is not mounted.
func sizeOf(t *testing.T, c keeper.Config, id backstay.InstanceID) backstay.Bytes {
	t.Helper()
	u, err := imagesOf(c).Usage(id)
	if err != nil && backstay.KindOf(err) != backstay.NotFound {
		t.Fatal(err)
	}
	return u.Used + u.Free + u.Held
}

// awaitSize waits until an instance's volume has that size.
func awaitSize(t *testing.T, c keeper.Config, id backstay.InstanceID, want backstay.Bytes) {
	t.Helper()
	size := backstay.Bytes(0)
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		if size = sizeOf(t, c, id); size == want {
			return
		}
	}
	t.Fatalf("the volume has %v, want %v", size, want)
}

func mountsBelow(t *testing.T, dir string) (mounts []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, dir+"/") {
			mounts = append(mounts, line)
		}
	}
	return mounts
}

// TestVolumeOfAnInstance leads an instance with a volume through its life: the volume has the plan's size, grows with it
// while the engine serves, is found by the next keeper, is gone when all has ended in an orderly way, comes back, and
// goes with the instance.
func TestVolumeOfAnInstance(t *testing.T) {
	t.Parallel()
	c := keepertest.WithImages(t, 2)
	b, kill, _ := keepertest.Start(t, c, "")
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	pid, conn := mustPID(t, b, spec.Instance), mustUser(t, b, spec.Instance)
	awaitSize(t, c, spec.Instance, instance.VolumeSize(backstay.GB))
	if told, err := b.Storage(t.Context(), spec.Instance); err != nil || !told.Enforced {
		t.Errorf("of an instance with an image, it is told %+v %v", told, err)
	}

	spec.Generation, spec.Size.Storage = 2, 4*backstay.GB
	mustReach(t, b, spec)
	awaitSize(t, c, spec.Instance, instance.VolumeSize(4*backstay.GB))
	spec.Generation, spec.Size.Storage = 3, 2*backstay.GB
	mustReach(t, b, spec)
	awaitSize(t, c, spec.Instance, instance.VolumeSize(2*backstay.GB))
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}

	kill()
	next, stopKeeping := keepertest.Run(t, c)
	until(t, next, spec.Instance, running)
	if now := mustPID(t, next, spec.Instance); now != pid {
		t.Errorf("behind the death of a keeper, process %d became %d", pid, now)
	}
	conn.Close(t.Context())
	stopKeeping()
	stopEngines(t, c)
	if left := mountsBelow(t, c.DataDir); len(left) > 0 {
		t.Errorf("behind the end of all engines, there is mounted: %v", left)
	}

	last, _ := keepertest.Run(t, c)
	until(t, last, spec.Instance, running)
	awaitSize(t, c, spec.Instance, instance.VolumeSize(2*backstay.GB))
	if _, err := mustUser(t, last, spec.Instance).Exec(t.Context(), "SELECT n FROM kept"); err != nil {
		t.Errorf("what was written before: %v", err)
	}
	if err := last.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, last, spec.Instance)
	checkNothingLeft(t, c)
	checkNoVolume(t, c)
}

// checkNoVolume looks for what volumes leave.
func checkNoVolume(t *testing.T, c keeper.Config) {
	t.Helper()
	found, err := imagesOf(c).Found()
	if mounts := mountsBelow(t, c.DataDir); err != nil || len(found) > 0 || len(mounts) > 0 {
		t.Errorf("there are the volumes %v, and mounted %v: %v; want none", found, mounts, err)
	}
}

// TestKeeperDiesBehindEveryStepOfAVolume leads instances with volumes through whole lives, with keepers of which each
// dies behind another step of making, growing and removing a volume.
func TestKeeperDiesBehindEveryStepOfAVolume(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a volume is made for each step")
	}
	c := keepertest.WithImages(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dieBehindEach(t, c, keeper.VolumeStepNames(), func(enough <-chan struct{}) error { return leadUntil(ctx, t, c, enough) },
		func(*keeper.Config, string) {})
	checkNoVolume(t, c)
}

// TestVolumeThatIsMissing takes an instance's image away. Nothing is made in its place, and it serves again when the
// image is back.
func TestVolumeThatIsMissing(t *testing.T) {
	t.Parallel()
	c := keepertest.WithImages(t, 1)
	b, stopKeeping := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	stopKeeping()
	stopEngines(t, c)
	image := filepath.Join(c.DataDir, "volumes", string(spec.Instance)+".img")
	mustRename(t, image, image+".away")
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, func(s backend.Status) bool {
		return s.Phase == backend.Failing && strings.Contains(s.Message, "volume of the service instance is missing")
	})
	mustRename(t, image+".away", image)
	until(t, b, spec.Instance, running)
}

// TestVolumeWithoutARecord has a keeper start whose record of an instance cannot be read. Its volume is neither removed
// nor given away, and is taken up again with the port that it had when the control plane says that it has served.
func TestVolumeWithoutARecord(t *testing.T) {
	t.Parallel()
	c := keepertest.WithImages(t, 2)
	b, stopKeeping := keepertest.Run(t, c)
	spec := mustApply(t, b)
	served := until(t, b, spec.Instance, running)
	if _, err := mustUser(t, b, spec.Instance).Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	stopKeeping()
	stopEngines(t, c)
	mustWrite(t, recordPath(c, spec.Instance), "{")
	b, _ = keepertest.Run(t, c)
	data := filepath.Join(c.DataDir, "instances", string(spec.Instance), "data")
	if _, err := os.Stat(data); err != nil {
		t.Errorf("a volume of which there is no record: %v", err)
	}
	spec.Served = &backend.Served{Endpoint: served.Endpoint}
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, running)
	if _, err := mustUser(t, b, spec.Instance).Exec(t.Context(), "SELECT n FROM kept"); err != nil {
		t.Errorf("what was written before: %v", err)
	}
	awaitSize(t, c, spec.Instance, instance.VolumeSize(backstay.GB))
}

// TestRemovalWaitsForAVolumeInUse holds a file of a volume open while its instance is removed.
func TestRemovalWaitsForAVolumeInUse(t *testing.T) {
	t.Parallel()
	c := keepertest.WithImages(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	f, err := os.Open(filepath.Join(c.DataDir, "instances", string(spec.Instance), "data", "PG_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(3*time.Second, func() { f.Close() }) // longer than one try to unmount; nothing waits for it
	awaitGone(t, b, spec.Instance)
	checkNoVolume(t, c)
}

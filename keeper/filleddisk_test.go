package keeper_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/volume"
)

// onTwoDisksOfAnyKind is for a keeper that makes images where the machine can, with standbys on a disk of their own.
func onTwoDisksOfAnyKind(t *testing.T) (c keeper.Config, standbys testDisk) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	c = withEncryption(t, 8)
	c.Volumes = keeper.AutoVolumes
	standbys = newTestDisk(t, filepath.Join(testkit.Dir(t), "standbys"), "4G")
	c.StandbyDir = filepath.Join(standbys.dir, "backstay")
	mustMkdir(t, c.StandbyDir)
	t.Cleanup(func() { stopEngines(t, c) })
	return c, standbys
}

// TestStandbysDiskIsFullForAMoment as a standby is to be made anew there: it waits, says why, and has a volume as soon as
// there is room, which the keeper finds out by itself, as it does for new instances.
func TestStandbysDiskIsFullForAMoment(t *testing.T) {
	testkit.InSomeRuns(t)
	c, standbys := onTwoDisksOfAnyKind(t)
	b, stopKeeping := keepertest.Run(t, c)
	spec, _, stop := newPair(t, b, paired[0])
	stop()
	until(t, b, spec.Instance, isProtected)
	stopKeeping()
	stopEngines(t, c)
	second := instance.Homes(spec.Instance)[1]
	if err := imagesAt(c.StandbyDir).Remove(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(standbys.dir, "filler")
	fill(t, filler)
	b, _ = keepertest.Run(t, c)
	untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
		return isExposed(s) && strings.Contains(exposure(s), "the disk is full")
	})
	other := specOf(t, paired[0])
	other.Nodes = 2
	other.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(strings.Repeat("0123456789abcdef", 4))}
	if err := b.Admit(t.Context(), other); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a new pair is admitted with %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(c.StandbyDir, "instances")); err != nil || len(left) > 0 {
		t.Errorf("on a full disk there is made %v, %v", left, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := b.Apply(t.Context(), other)
		if err == nil {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("a new pair, once there is room: %v", err)
		}
	}
	for _, id := range []backstay.InstanceID{spec.Instance, other.Instance} {
		untilWithin(t, 2*time.Minute, b, id, isProtected)
		if _, err := imagesAt(c.StandbyDir).Usage(instance.Homes(id)[1]); err != nil {
			t.Errorf("the standby has no volume: %v", err)
		}
		if told, err := b.Storage(t.Context(), id); err != nil || !told.Enforced {
			t.Errorf("it is told %+v, %v", told, err)
		}
	}
}

// TestStandbyWithoutAVolumeIsMadeAnew: a keeper before has put it into a directory because its disk was full.
func TestStandbyWithoutAVolumeIsMadeAnew(t *testing.T) {
	testkit.InSomeRuns(t)
	c, _ := onTwoDisksOfAnyKind(t)
	b, stopKeeping := keepertest.Run(t, c)
	spec, _, stop := newPair(t, b, paired[0])
	stop()
	until(t, b, spec.Instance, isProtected)
	stopKeeping()
	stopEngines(t, c)
	haveNoVolume(t, c, spec.Instance)
	b, _ = keepertest.Run(t, c)
	second := instance.Homes(spec.Instance)[1]
	untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
		_, err := imagesAt(c.StandbyDir).Usage(second)
		return err == nil && isProtected(s)
	})
	if told, err := b.Storage(t.Context(), spec.Instance); err != nil || !told.Enforced {
		t.Errorf("it is told %+v, %v", told, err)
	}
}

// haveNoVolume puts what is on the volume of an instance's second into a directory in its place.
func haveNoVolume(t *testing.T, c keeper.Config, id backstay.InstanceID) {
	t.Helper()
	second, images := instance.Homes(id)[1], imagesAt(c.StandbyDir)
	dir, err := images.Mount(t.Context(), second, volume.Wanted{})
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(c.StandbyDir, "aside")
	mustMkdir(t, aside)
	copied := exec.CommandContext(t.Context(), "/bin/sh", "-c", `exec cp -a "$0"/[!.]* "$1"`, dir, aside) // no ballast
	if output, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	if err := images.Remove(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	mustRename(t, aside, dir)
	path := recordPath(c, id)
	text, err := os.ReadFile(path)
	var record map[string]any
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err == nil {
		delete(record["apart"].(map[string]any), "volume")
		text, err = json.Marshal(record)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

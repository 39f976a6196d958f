package keeper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestReplicaOfAnEncryptedInstance lies in the data directory, encrypted with the same key, also where the standby has
// another disk: whichever of the two disks the primary is on.
func TestReplicaOfAnEncryptedInstance(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	p, c := paired[0], withEncryption(t, 6)
	standbys := newTestDisk(t, filepath.Join(testkit.Dir(t), "standbys"), "4G")
	c.StandbyDir = filepath.Join(standbys.dir, "backstay")
	mustMkdir(t, c.StandbyDir)
	t.Cleanup(func() { stopEngines(t, c) })
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, p)
	spec.Reading = readFrom(2)
	spec.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(strings.Repeat("0123456789abcdef", 4))}
	writes, reads := mustBeRead(t, p, b, &spec)
	spec.Generation, spec.Failovers = spec.Generation+1, spec.Failovers+1
	mustReach(t, b, spec)
	untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
		return isReadFrom(2)(s) && s.Nodes[0].Name == "2"
	})
	mustNoteAs(t, p, writes, 2)
	wantAllRead(t, p, c, 2, reads, 1, 2)
	if way, err := imagesOf(c).EncryptedBy(backstay.InstanceID(homeOf(spec, "3"))); err != nil || way == "" {
		t.Errorf("the replica's volume is encrypted by %q, %v", way, err)
	}
	if found, err := imagesAt(c.StandbyDir).Found(); err != nil || len(found) != 1 {
		t.Errorf("the disk for standbys has the volumes %v, %v; want that of a standby alone", found, err)
	}
	if err := end(t.Context(), b, spec.Instance); err != nil {
		t.Fatal(err)
	}
	checkNoVolume(t, c)
	if found := filesWith(t, c.DataDir, spec.Volume.Key.Reveal()); len(found) > 0 {
		t.Errorf("behind the removal, the key is in %v", found)
	}
}

// TestReplicaTakesABuild: it runs from the build that its primary does, once that has come to a newer one.
func TestReplicaTakesABuild(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	u := newUpgrade(t)
	b, _ := keepertest.Run(t, u.Config)
	spec := specOf(t, paired[0])
	spec.Reading = readFrom(2)
	writes, reads := mustBeRead(t, paired[0], b, &spec)
	wantBuild(t, u.Config, homeOf(spec, "3"), u.older)
	testkit.Install(t, u.newerRoot, u.usr)
	awaitInstalled(t, b, u.newer)
	spec.Generation, spec.Build = 2, u.newer
	mustApplySpec(t, b, spec)
	untilWithin(t, 4*limit, b, spec.Instance, func(s backend.Status) bool {
		return isReadFrom(2)(s) && s.Build == u.newer
	})
	mustNoteAs(t, paired[0], writes, 2)
	wantAllRead(t, paired[0], u.Config, 2, reads, 1, 2)
	wantBuild(t, u.Config, homeOf(spec, "3"), u.newer)
}

// wantBuild wants what runs at a place to run from that build.
func wantBuild(t *testing.T, c keeper.Config, home, full string) {
	t.Helper()
	pids := pidsIn(c, home)
	if len(pids) != 1 {
		t.Fatalf("in %s run %v", home, pids)
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pids[0]))
	if err != nil || !strings.Contains(program, "/"+full+"-") {
		t.Errorf("%s runs from %s (%v), want %s", home, program, err, full)
	}
}

// TestFollowersThatStandStill are ended and started again with the data that they have.
func TestFollowersThatStandStill(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Reading = readFrom(2)
		mustBeRead(t, p, b, &spec)
		data := func() (all []uint64) {
			for _, home := range instance.Homes(spec.Instance)[1:3] {
				dirs, _ := filepath.Glob(filepath.Join(c.DataDir, "instances", string(home), "data*"))
				if len(dirs) != 1 {
					t.Fatalf("%s has the data %v", home, dirs)
				}
				all = append(all, inode(t, dirs[0]))
			}
			return all
		}
		before := data()
		for _, home := range instance.Homes(spec.Instance)[1:3] {
			mustStop(t, c, string(home))
		}
		began := time.Now()
		until(t, b, spec.Instance, func(s backend.Status) bool { return !isReadFrom(2)(s) })
		untilWithin(t, 50*time.Second, b, spec.Instance, isReadFrom(2))
		t.Logf("they follow again after %v", time.Since(began))
		if after := data(); !slices.Equal(before, after) {
			t.Errorf("the data is %v, and was %v: it was copied", after, before)
		}
	})
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Ino
}

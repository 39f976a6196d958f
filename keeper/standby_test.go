package keeper_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/volume"
)

// testDisk is a disk of its own, mounted at a directory.
type testDisk struct{ dir string }

// newTestDisk makes a disk of that size and mounts it at dir, which is made, or skips the test.
func newTestDisk(t *testing.T, dir, size string) testDisk {
	t.Helper()
	d := testDisk{dir}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for d.remove() == nil { // whatever was mounted there, one above the other
		}
	})
	d.insert(t, size)
	return d
}

// insert mounts a new, empty disk in the place of what was there.
func (d testDisk) insert(t *testing.T, size string) {
	t.Helper()
	image := filepath.Join(testkit.Dir(t), "disk")
	for _, command := range [][]string{
		{"truncate", "--size=" + size, image}, {"mkfs.ext4", "-q", "-b", "4096", image}, {"mount", "-o", "loop", image, d.dir},
		{"chmod", "711", d.dir},
	} {
		if output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("There is no other disk: %v: %v %s", command, err, output)
		}
	}
}

// remove takes the disk away, in use or not.
func (d testDisk) remove() error { return unix.Unmount(d.dir, unix.MNT_DETACH) }

// lose has the disk answer nothing but errors from now on.
func (d testDisk) lose(t *testing.T) {
	t.Helper()
	dir, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	const shutdown, withoutLog = 0x8004587d, 2 // FS_IOC_SHUTDOWN
	how := uint32(withoutLog)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Fatal(errno)
	}
}

// onEachPairOnTwoDisks runs a test with each product, and with the configuration of a keeper whose standbys lie on a disk
// of their own.
func onEachPairOnTwoDisks(t *testing.T, test func(t *testing.T, p product, c keeper.Config, standbys testDisk)) {
	images := func(t *testing.T) keeper.Config { return keepertest.WithImages(t, 5) }
	onEachPaired(t, images, func(t *testing.T, p product, c keeper.Config) {
		standbys := newTestDisk(t, filepath.Join(testkit.Dir(t), "standbys"), "4G")
		c.StandbyDir = filepath.Join(standbys.dir, "backstay")
		mustMkdir(t, c.StandbyDir)
		t.Cleanup(func() { stopEngines(t, c) })
		test(t, p, c, standbys)
	})
}

func mustMkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
}

// newPair makes an instance of two, returns when it is protected, and has clients write until stop is called, which
// looks for all that they were told is committed.
func newPair(t *testing.T, b *local.Backend, p product) (spec backend.Spec, noted *journal, stop func()) {
	t.Helper()
	spec = specOf(t, p)
	spec.Nodes = 2
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, isProtected)
	credentials := mustCredentials(t, b, spec.Instance)
	if err := add(t.Context(), p, credentials, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	noted = &journal{}
	for range 4 {
		clients.Go(func() { noted.keep(ctx, p, credentials) })
	}
	return spec, noted, func() {
		t.Helper()
		cancel()
		clients.Wait()
		checkNoted(t, p, credentials, noted)
	}
}

// mustBeWritten returns when each client has begun to commit another number, and one was told that it is committed.
func mustBeWritten(t *testing.T, noted *journal) {
	t.Helper()
	since, enough := time.Now(), noted.length()+8
	for noted.length() < enough || !noted.last().After(since) {
		if time.Since(since) > time.Minute {
			t.Fatal("nothing was committed for a minute")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isExposed tells whether an instance serves, and says that it is not protected.
func isExposed(s backend.Status) bool {
	return s.Phase == backend.Running && s.Protected.IsZero() && exposure(s) != ""
}

// exposure is why an instance is not protected, as it says.
func exposure(s backend.Status) string {
	for _, trouble := range s.Troubles {
		if trouble.Kind == "standby" {
			return trouble.Sentence
		}
	}
	return ""
}

func imagesAt(dir string) *volume.Images {
	return &volume.Images{Root: filepath.Join(dir, "volumes"), Mounts: filepath.Join(dir, "instances")}
}

// TestStandbysDiskIsLost under clients that write: the primary serves on, the instance says that it is not protected, a
// place where no disk is mounted is left empty, and on a new disk the standby is made anew by itself. What was
// acknowledged is all there when that has taken over.
func TestStandbysDiskIsLost(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, standbys testDisk) {
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		second := instance.Homes(spec.Instance)[1]
		if _, err := imagesAt(c.StandbyDir).Usage(second); err != nil {
			t.Errorf("the standby is not on its disk: %v", err)
		}
		if found, err := imagesOf(c).Found(); err != nil || len(found) != 1 {
			t.Errorf("the data directory has the volumes %v, %v; want the primary's alone", found, err)
		}
		standbys.lose(t)
		until(t, b, spec.Instance, isExposed)
		mustBeWritten(t, noted)
		if err := standbys.remove(); err != nil {
			t.Fatal(err)
		}
		mustMkdir(t, c.StandbyDir) // where the disk is to be
		until(t, b, spec.Instance, func(s backend.Status) bool {
			return isExposed(s) && strings.Contains(exposure(s), "The disk for standbys is not there")
		})
		mustBeWritten(t, noted)
		if left, err := os.ReadDir(c.StandbyDir); err != nil || len(left) > 0 {
			t.Errorf("where no disk is mounted, there is now %v, %v", left, err)
		}
		standbys.insert(t, "4G")
		mustMkdir(t, c.StandbyDir)
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		if p.engine != "redis" { // which may lose the last moment
			mustKill(t, mustPID(t, b, spec.Instance))
			until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
		}
		mustBeWritten(t, noted)
		stop()
		if err := end(t.Context(), b, spec.Instance); err != nil {
			t.Fatal(err)
		}
		if found, err := imagesAt(c.StandbyDir).Found(); err != nil || len(found) > 0 {
			t.Errorf("behind the removal, the disk for standbys has %v, %v", found, err)
		}
	})
}

// TestPrimarysDiskIsLost under clients that write: the standby takes over with all that was acknowledged, and when there
// is a disk again, the former primary is made anew there.
func TestPrimarysDiskIsLost(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		volumes := newTestDisk(t, filepath.Join(c.DataDir, "volumes"), "4G")
		t.Cleanup(func() { stopEngines(t, c) }) // while the disk is there
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		mustBeWritten(t, noted)
		struck := time.Now()
		volumes.lose(t)
		s := until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
		mustBeWritten(t, noted)
		t.Logf("%v without an acknowledgement; users are told %+v", noted.longest(struck), s.Failover)
		if p.engine == "redis" {
			noted.doubt(struck.Add(-lastMoment), struck.Add(lastMoment))
		}
		if err := volumes.remove(); err != nil {
			t.Fatal(err)
		}
		volumes.insert(t, "4G")
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		stop()
	})
}

// TestPrimarysVolumeIsLost while there is no keeper: the next one has the standby take over, which lacks nothing. Of Redis,
// which cannot know that, it does so after a minute, and only if the volume is missing.
func TestPrimarysVolumeIsLost(t *testing.T) {
	testkit.InSomeRuns(t)
	for name, lose := range map[string]func(t *testing.T, image string){
		"missing": func(t *testing.T, image string) { mustRename(t, image, image+".away") },
		"damaged": func(t *testing.T, image string) {
			if err := os.Truncate(image, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
				words := "volume"
				if p.engine == "redis" {
					words = "data is gone"
					if name == "damaged" {
						t.Skip("it waits until the volume is mended")
					}
				}
				b, stopKeeping := keepertest.Run(t, c)
				spec, noted, stop := newPair(t, b, p)
				mustBeWritten(t, noted)
				stop()
				until(t, b, spec.Instance, isProtected)
				stopKeeping()
				stopEngines(t, c)
				lose(t, filepath.Join(c.DataDir, "volumes", string(spec.Instance)+".img"))
				b, _ = keepertest.Run(t, c)
				s := untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
				if s.Nodes[0].Name != "2" || s.Failover == nil || !strings.Contains(s.Failover.Why, words) {
					t.Errorf("it is now %+v, behind %+v", s.Nodes, s.Failover)
				}
				checkNoted(t, p, mustCredentials(t, b, spec.Instance), noted)
			})
		})
	}
}

// TestStandbysStayUntilMadeAnew: a keeper that is told of a disk for standbys leaves those where they lie that there are.
// They come to the disk when they are made anew, and nothing is left at the place before.
func TestStandbysStayUntilMadeAnew(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		before := c
		before.StandbyDir = ""
		b, stopKeeping := keepertest.Run(t, before)
		spec, _, stop := newPair(t, b, p)
		stopKeeping()
		b, _ = keepertest.Run(t, c)
		until(t, b, spec.Instance, isProtected)
		stop()
		second := instance.Homes(spec.Instance)[1]
		if _, err := imagesOf(c).Usage(second); err != nil {
			t.Errorf("the standby that there was: %v", err)
		}
		spec.Generation, spec.Nodes = 2, 1
		mustReach(t, b, spec)
		until(t, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 1 })
		if err := awaitDisbanded(t.Context(), c, spec); err != nil {
			t.Fatal(err)
		}
		spec.Generation, spec.Nodes = 3, 2
		mustReach(t, b, spec)
		until(t, b, spec.Instance, isProtected)
		if _, err := imagesAt(c.StandbyDir).Usage(second); err != nil {
			t.Errorf("the standby that was made anew: %v", err)
		}
		if found, err := imagesOf(c).Found(); err != nil || len(found) != 1 {
			t.Errorf("the data directory has the volumes %v, %v; want the primary's alone", found, err)
		}
	})
}

// TestStandbyIsEndedThatLostItsDisk: its disk was taken out of the way while it ran and no keeper did. It could follow for
// long, and would not be started again.
func TestStandbyIsEndedThatLostItsDisk(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, standbys testDisk) {
		b, stopKeeping := keepertest.Run(t, c)
		spec, _, stop := newPair(t, b, p)
		pid := mainPID(t, filepath.Join(c.StandbyDir, "instances", string(instance.Homes(spec.Instance)[1])))
		stopKeeping()
		if err := standbys.remove(); err != nil {
			t.Fatal(err)
		}
		b, _ = keepertest.Run(t, c)
		until(t, b, spec.Instance, func(s backend.Status) bool {
			return isExposed(s) && strings.Contains(exposure(s), "The disk for standbys is not there")
		})
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); !os.IsNotExist(err) {
			t.Errorf("the standby still runs: %v", err)
		}
		stop()
	})
}

// TestRoomOnEachDisk asks for more than the disk for standbys holds, and for what it cannot hold because it is away. What
// needs no standby is not refused for that.
func TestRoomOnEachDisk(t *testing.T) {
	t.Parallel()
	c := keepertest.WithImages(t, 3)
	standbys := newTestDisk(t, filepath.Join(testkit.Dir(t), "standbys"), "360M")
	c.StandbyDir, c.Overcommit = standbys.dir, 10
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Nodes, spec.Size.Storage = 2, backstay.GB
	refused := func(want string) {
		t.Helper()
		err := b.Admit(t.Context(), spec)
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
	refused("The disk for standbys is nearly full: of ")
	if err := standbys.remove(); err != nil {
		t.Fatal(err)
	}
	refused("The disk for standbys is not there.")
	spec.Nodes = 1
	if err := b.Admit(t.Context(), spec); err != nil {
		t.Errorf("an instance of one node: %v", err)
	}
}

// TestKeeperDiesBehindEveryStepOnTwoDisks leads instances of two, whose standbys lie on a disk of their own, through whole
// lives, with keepers of which each dies behind another step of making and removing their volumes.
func TestKeeperDiesBehindEveryStepOnTwoDisks(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		if p.engine != "postgres" {
			t.Skip("the steps are those of each engine")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		failOver := func(s *backend.Spec) { s.Failovers++ }
		dieBehindEach(t, c, append(keeper.VolumeStepNames(), "keeper.second-cleared", "keeper.second-disbanded"),
			func(enough <-chan struct{}) error {
				for {
					if err := leadPair(ctx, c, p, specOf(t, p), failOver); err != nil {
						return err
					}
					select {
					case <-enough:
						return nil
					default:
					}
				}
			}, func(*keeper.Config, string) {})
		checkNoVolume(t, c)
		if found, err := imagesAt(c.StandbyDir).Found(); err != nil || len(found) > 0 {
			t.Errorf("on the disk for standbys there is left %v, %v", found, err)
		}
		if left, err := os.ReadDir(filepath.Join(c.StandbyDir, "instances")); err != nil || len(left) > 0 {
			t.Errorf("on the disk for standbys there is left %v, %v", left, err)
		}
	})
}

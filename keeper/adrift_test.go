package keeper_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestDiskIsTakenFromThePrimary under clients that write: the disk for standbys is unmounted while a primary works on it,
// which serves on for all that it knows. The standby takes over with all that was acknowledged, nothing is left of the
// former one, and nothing is made where no disk is mounted.
func TestDiskIsTakenFromThePrimary(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, standbys testDisk) {
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		ghost := serveFromTheSecond(t, b, p, spec, noted)
		struck := time.Now()
		if err := standbys.remove(); err != nil {
			t.Fatal(err)
		}
		mustMkdir(t, c.StandbyDir)
		until(t, b, spec.Instance, func(s backend.Status) bool { return isExposed(s) && s.Nodes[0].Name == "1" })
		t.Logf("%v without an acknowledgement", noted.longest(struck))
		checkReplaced(t, p, noted, ghost, struck)
		until(t, b, spec.Instance, func(s backend.Status) bool {
			return isExposed(s) && strings.Contains(exposure(s), "The disk for standbys is not there")
		})
		if left, err := os.ReadDir(c.StandbyDir); err != nil || len(left) > 0 {
			t.Errorf("where no disk is mounted, there is now %v, %v", left, err)
		}
		standbys.insert(t, "4G")
		mustMkdir(t, c.StandbyDir)
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		stop()
	})
}

// TestDiskIsExchangedBelowThePrimary: there is another one in its place at once.
func TestDiskIsExchangedBelowThePrimary(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, standbys testDisk) {
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		ghost := serveFromTheSecond(t, b, p, spec, noted)
		struck := time.Now()
		if err := standbys.remove(); err != nil {
			t.Fatal(err)
		}
		standbys.insert(t, "4G")
		mustMkdir(t, filepath.Join(c.StandbyDir, "instances", string(instance.Homes(spec.Instance)[1])))
		untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
			return isProtected(s) && s.Nodes[0].Name == "1"
		})
		checkReplaced(t, p, noted, ghost, struck)
		stop()
	})
}

// serveFromTheSecond has the node on the disk for standbys serve, and returns its process.
func serveFromTheSecond(t *testing.T, b *local.Backend, p product, spec backend.Spec, noted *journal) (pid int) {
	t.Helper()
	mustBeWritten(t, noted)
	killed := time.Now()
	mustKill(t, mustPID(t, b, spec.Instance))
	untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
		return isProtected(s) && s.Nodes[0].Name == "2"
	})
	mustBeWritten(t, noted)
	if p.engine == "redis" {
		noted.doubt(killed.Add(-lastMoment), killed.Add(lastMoment))
	}
	return mustPID(t, b, spec.Instance)
}

// checkReplaced sees that clients write, and that the process of the primary before has ended.
func checkReplaced(t *testing.T, p product, noted *journal, pid int, struck time.Time) {
	t.Helper()
	mustBeWritten(t, noted)
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); !os.IsNotExist(err) {
		t.Errorf("the former primary still runs: %v", err)
	}
	if p.engine == "redis" {
		noted.doubt(struck.Add(-lastMoment), time.Now())
	}
}

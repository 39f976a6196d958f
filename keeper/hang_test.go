package keeper_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestPrimarysDiskHangs under clients that write: nothing that is written there is answered, and no process there can be
// killed. The standby takes over with all that was acknowledged, and when the disk answers again, the former primary
// follows.
func TestPrimarysDiskHangs(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		mustBeWritten(t, noted)
		struck := time.Now()
		goOn := testkit.Freeze(t, filepath.Join(c.DataDir, "instances", string(spec.Instance)))
		s := untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
			return running(s) && s.Nodes[0].Name == "2"
		})
		mustBeWritten(t, noted)
		t.Logf("%v without an acknowledgement; users are told %+v", noted.longest(struck), s.Failover)
		if p.engine == "redis" {
			noted.doubt(struck.Add(-lastMoment), struck.Add(lastMoment))
		}
		goOn()
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		stop()
	})
}

// TestPrimarysDiskHangsWithoutAKeeper: the next one finds a primary on a disk for standbys that hangs.
func TestPrimarysDiskHangsWithoutAKeeper(t *testing.T) {
	testkit.InSomeRuns(t)
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		if p.engine == "redis" {
			t.Skip("its standby is not known to be in step by a keeper that has not seen it follow")
		}
		b, stopKeeping := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		mustBeWritten(t, noted)
		mustKill(t, mustPID(t, b, spec.Instance))
		untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
			return isProtected(s) && s.Nodes[0].Name == "2"
		})
		stopKeeping()
		goOn := testkit.Freeze(t, filepath.Join(c.StandbyDir, "instances", string(instance.Homes(spec.Instance)[1])))
		defer goOn() // before the keeper ends
		b, _ = keepertest.Run(t, c)
		untilWithin(t, 3*time.Minute, b, spec.Instance, func(s backend.Status) bool {
			return running(s) && s.Nodes[0].Name == "1"
		})
		mustBeWritten(t, noted)
		goOn()
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		stop()
	})
}

// TestStandbysDiskHangs under clients that write: the primary serves on without it, says so, and is protected again when
// the disk answers.
func TestStandbysDiskHangs(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		mustBeWritten(t, noted)
		struck := time.Now()
		goOn := testkit.Freeze(t, filepath.Join(c.StandbyDir, "instances", string(instance.Homes(spec.Instance)[1])))
		untilWithin(t, 2*time.Minute, b, spec.Instance, isExposed)
		mustBeWritten(t, noted)
		t.Logf("%v without an acknowledgement", noted.longest(struck))
		goOn()
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		stop()
	})
}

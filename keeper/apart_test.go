package keeper_test

import (
	"os"
	"testing"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestRecordOfAPairOnTwoDisksIsLost: another one is made around what lies on both disks, and nothing is made anew.
func TestRecordOfAPairOnTwoDisksIsLost(t *testing.T) {
	onEachPairOnTwoDisks(t, func(t *testing.T, p product, c keeper.Config, _ testDisk) {
		b, stopKeeping := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		mustBeWritten(t, noted)
		stop()
		before := until(t, b, spec.Instance, isProtected)
		stopKeeping()
		stopEngines(t, c)
		if err := os.Remove(recordPath(c, spec.Instance)); err != nil {
			t.Fatal(err)
		}
		b, _ = keepertest.Run(t, c)
		spec.Served = &backend.Served{Endpoint: before.Endpoint}
		if err := b.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		s := until(t, b, spec.Instance, isProtected)
		if s.Nodes[0].Name != "1" || s.Endpoint != before.Endpoint {
			t.Errorf("it is now %+v", s)
		}
		checkNoted(t, p, mustCredentials(t, b, spec.Instance), noted)
		if _, err := imagesAt(c.StandbyDir).Usage(instance.Homes(spec.Instance)[1]); err != nil {
			t.Errorf("the standby is not on its disk: %v", err)
		}
		if found, err := imagesOf(c).Found(); err != nil || len(found) != 1 {
			t.Errorf("the data directory has the volumes %v, %v; want the primary's alone", found, err)
		}
	})
}

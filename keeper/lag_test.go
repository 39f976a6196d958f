package keeper_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestStandbyStaysForAnotherLag: how far the standby may be behind and be read from is no matter of its own. It is
// not started again, and the instance is protected all the while.
func TestStandbyStaysForAnotherLag(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec, _, stop := newPair(t, b, p)
		before := until(t, b, spec.Instance, isProtected)
		dir := filepath.Join(c.DataDir, "instances", string(instance.Homes(spec.Instance)[1]))
		pid := onlyPID(t, dir)
		spec.Generation, spec.Reading.MaxLag = 2, 7
		mustReach(t, b, spec)
		for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(20 * time.Millisecond) {
			now := until(t, b, spec.Instance, isProtected)
			if again := onlyPID(t, dir); again != pid || !now.Protected.Equal(before.Protected) {
				t.Fatalf("the standby is process %d, and was %d; it stands by since %v, and did since %v", again, pid,
					now.Protected, before.Protected)
			}
		}
		stop()
	})
}

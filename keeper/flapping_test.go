package keeper_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestFlappingIsTold: whoever has the primary die again and again has it replaced every other time, which is told, by
// the next keeper too.
func TestFlappingIsTold(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	c := keepertest.Config(t, 4)
	b, kill, _ := keepertest.Start(t, c, "")
	spec := specOf(t, paired[0])
	spec.Nodes = 2
	mustReach(t, b, spec)
	told := func(s backend.Status) string {
		for _, trouble := range s.Troubles {
			if trouble.Kind == "failovers" {
				return trouble.Sentence
			}
		}
		return ""
	}
	failovers, deaths := 0, 0
	for last := (time.Time{}); ; deaths++ {
		s := untilWithin(t, time.Minute, b, spec.Instance, isProtected)
		if s.Failover != nil && s.Failover.At.After(last) {
			last, failovers = s.Failover.At, failovers+1
		}
		if failovers == 3 {
			break
		}
		if deaths > 12 {
			t.Fatalf("after %d deaths, the primary was replaced %d times", deaths, failovers)
		}
		if told(s) != "" {
			t.Fatalf("behind %d failovers, it is told %q", failovers, told(s))
		}
		mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGKILL)
		until(t, b, spec.Instance, func(now backend.Status) bool { return now.Revision > s.Revision && !isProtected(now) })
	}
	t.Logf("%d deaths were %d failovers", deaths, failovers)
	isTold := func(s backend.Status) bool {
		return strings.HasPrefix(told(s), "The primary was replaced 3 times since ")
	}
	until(t, b, spec.Instance, isTold)
	kill()
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, isTold)
}

package keeper_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestCrashIsTold has a server crash that serves again a moment later: why its clients were cut off is told behind that.
func TestCrashIsTold(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	c.Engines = map[string]engine.Engine{"redis": redis.Engine{}}
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Engine, spec.Version = "redis", "7.0"
	mustReach(t, b, spec)
	mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGSEGV)
	told := awaitTrouble(t, b, spec.Instance, "ended")
	if !strings.Contains(told, "crashed by signal: 11") {
		t.Errorf("it tells %q", told)
	}
	until(t, b, spec.Instance, running)
}

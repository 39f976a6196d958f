package keeper_test

import (
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
)

// cureLimit is how long the update of a sick instance may take on a busy machine: two questions that nobody answers, an
// end that has to be forced, and a start.
const cureLimit = 2 * time.Minute

// mustBeCured applies a Spec that cures its instance.
func mustBeCured(t *testing.T, b *local.Backend, spec backend.Spec) {
	t.Helper()
	began := time.Now()
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := untilWithin(t, cureLimit, b, spec.Instance, func(s backend.Status) bool {
		return s.Phase == backend.Running && s.Generation == spec.Generation || s.Obstacle.Final
	})
	if s.Obstacle != (backend.Obstacle{}) {
		t.Errorf("it is not cured: %+v", s)
	}
	t.Logf("cured after %s", time.Since(began))
}

// doubled is the Spec with a larger size, as the next generation.
func doubled(spec backend.Spec) backend.Spec {
	spec.Generation++
	spec.Size.Memory, spec.Size.Connections = 2*spec.Size.Memory, 2*spec.Size.Connections
	return spec
}

// starving is Redis on a machine where it needs more memory than there was when it first started.
type starving struct {
	redis.Engine
	needs *atomic.Int64
}

func (e starving) Command(n engine.Node) (engine.Process, error) {
	if int64(n.Size.Memory) < e.needs.Load() {
		const says = "echo '1:M 01 Jan 2026 00:00:00.000 # Fatal: Out of memory'; exit 1"
		return engine.Process{Cmd: exec.Command("/bin/sh", "-c", says)}, nil
	}
	return e.Engine.Command(n)
}

// TestLargerPlanCuresWhatCannotStart: of an engine that needs more memory than its plan has, another change ends with
// the reason, and more memory is the cure.
func TestLargerPlanCuresWhatCannotStart(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	needs := &atomic.Int64{}
	c.Engines["redis"] = starving{needs: needs}
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, products[2])
	mustReach(t, b, spec)
	needs.Store(int64(2 * spec.Size.Memory))
	mustKill(t, mustPID(t, b, spec.Instance))
	until(t, b, spec.Instance, failing)

	spec.Generation, spec.Size.Storage = 2, 2*spec.Size.Storage
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := until(t, b, spec.Instance, func(s backend.Status) bool { return s.Obstacle.Final })
	if !strings.Contains(s.Obstacle.Sentence, "Out of memory") || s.Obstacle.Generation != 2 {
		t.Errorf("the update ends with %+v", s)
	}
	mustBeCured(t, b, doubled(spec))
}

// TestUpdateOfAStoppedEngine: one whose process stands still comes up again as it is wanted.
func TestUpdateOfAStoppedEngine(t *testing.T) {
	onEachProduct(t, func(t *testing.T, p product, b *local.Backend, spec backend.Spec) {
		mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGSTOP)
		mustBeCured(t, b, doubled(spec))
		mustCredentials(t, b, spec.Instance)
	})
}

// TestUpdateOfASilentEngine: one that a client keeps from answering anybody comes up again as it is wanted.
func TestUpdateOfASilentEngine(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes until an engine is taken for silent")
	}
	c := keepertest.Config(t, 1)
	c.Engines["redis"] = redis.Engine{Patience: time.Hour}
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, products[2])
	mustReach(t, b, spec)
	reader := readerOfRedis(t, b, spec.Instance)
	const endless = "return string.find(string.rep('a', 60), string.rep('a?', 60) .. string.rep('a', 60))"
	if err := reader.EvalRO(t.Context(), endless, nil).Err(); err == nil {
		t.Fatal("the script ended")
	}
	mustBeCured(t, b, doubled(spec))
}

// TestUpdateOfAFullEngine: where clients hold all connections, a plan with more of them lets others in.
func TestUpdateOfAFullEngine(t *testing.T) {
	onEachProduct(t, func(t *testing.T, p product, b *local.Backend, spec backend.Spec) {
		c := mustCredentials(t, b, spec.Instance)
		for {
			w, err := p.open(t.Context(), c)
			if err != nil {
				break
			}
			defer w.close()
		}
		mustBeCured(t, b, doubled(spec))
		w, err := p.open(t.Context(), c)
		if err != nil {
			t.Fatalf("nobody is let in: %v", err)
		}
		w.close()
	})
}

// TestUpdateOfAnInstanceWithoutData ends with the reason; what served before serves when the data is back.
func TestUpdateOfAnInstanceWithoutData(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("data may be missing for a minute")
	}
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	pid := mustPID(t, b, spec.Instance)
	mustRename(t, dataDir(c, spec.Instance), dataDir(c, spec.Instance)+".away")
	mustKill(t, pid)
	until(t, b, spec.Instance, failing)
	larger := doubled(spec)
	if err := b.Apply(t.Context(), larger); err != nil {
		t.Fatal(err)
	}
	s := untilWithin(t, cureLimit, b, spec.Instance, func(s backend.Status) bool { return s.Obstacle.Final })
	if !strings.Contains(s.Obstacle.Sentence, "is missing") {
		t.Errorf("the update ends with %+v", s)
	}
	mustRename(t, dataDir(c, spec.Instance)+".away", dataDir(c, spec.Instance))
	if s := until(t, b, spec.Instance, running); s.Generation != 1 {
		t.Errorf("it serves as %+v", s)
	}
	larger.Generation++
	mustBeCured(t, b, larger)
}

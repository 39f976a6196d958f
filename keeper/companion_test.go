package keeper_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// accompanied is PostgreSQL with two processes beside it.
type accompanied struct{ postgres.Engine }

func (accompanied) Companions(engine.Node) ([]engine.Companion, error) {
	sleep := func(name string) engine.Companion {
		return engine.Companion{Name: name, Process: engine.Process{Cmd: exec.Command("/bin/sleep", "600")}}
	}
	return []engine.Companion{sleep("first"), sleep("second")}, nil
}

// TestCompanionsAreKept ends a companion, the keeper, the engine, and all.
func TestCompanionsAreKept(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	c.Engines["postgres"] = accompanied{}
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, running)
	runDir := filepath.Dir(pidFile(c, s))
	first, second := awaitCompanion(t, runDir, "first", 0), awaitCompanion(t, runDir, "second", 0)

	mustKill(t, first)
	first = awaitCompanion(t, runDir, "first", first)

	stop()
	b, stop = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	if now := awaitCompanion(t, runDir, "second", 0); now != second {
		t.Errorf("companion %d was started beside %d", now, second)
	}

	stop()
	if count, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil || count != 1 {
		t.Errorf("StopEngines: %d, %v", count, err)
	}
	for _, pid := range []int{first, second} {
		if _, err := process.Open(pid); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("companion %d has outlived its engine: %v", pid, err)
		}
	}

	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	awaitCompanion(t, runDir, "first", first)
	if err := end(t.Context(), b, spec.Instance); err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, c)
}

// awaitCompanion returns the pid of a companion that runs, and is not the one that ran before.
func awaitCompanion(t *testing.T, runDir, name string, before int) int {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(runDir, "companion-"+name+".pid"))
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid == before {
			continue
		}
		if p, err := process.Open(pid); err == nil {
			p.Close()
			return pid
		}
	}
	t.Fatalf("companion %s does not run", name)
	return 0
}

package keeper_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/keeper/keepertest"
)

// vanishing is PostgreSQL whose data is taken away just before it is looked for to be prepared.
type vanishing struct {
	postgres.Engine
	takes chan string // where it is taken to, once each time
}

func (e vanishing) Prepare(ctx context.Context, n engine.Node) error {
	select {
	case away := <-e.takes:
		if err := os.Rename(n.DataDir, away); err != nil {
			return err
		}
	default:
	}
	return e.Engine.Prepare(ctx, n)
}

// TestDataThatVanishesIsNotMadeAnew has the data of an instance that has served go away behind the look for it, at the
// last moment: an empty database in its place would take the place of all other nodes' data too.
func TestDataThatVanishesIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	e := vanishing{takes: make(chan string, 1)}
	c.Engines["postgres"] = e
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	mustExec(t, mustUser(t, b, spec.Instance), "CREATE TABLE precious AS SELECT 42 AS n")
	dir := dataDir(c, spec.Instance)
	e.takes <- dir + ".away"
	mustKill(t, mustPID(t, b, spec.Instance))
	until(t, b, spec.Instance, func(s backend.Status) bool {
		return failing(s) && strings.Contains(s.Message, "is missing")
	})
	time.Sleep(100 * time.Millisecond)
	if entries, err := os.ReadDir(dir); len(entries) > 0 {
		t.Fatalf("something was made: %v, %v", entries, err)
	}
	mustRename(t, dir+".away", dir)
	until(t, b, spec.Instance, running)
	mustExec(t, mustUser(t, b, spec.Instance), "SELECT n FROM precious")
}

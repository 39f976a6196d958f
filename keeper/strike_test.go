package keeper_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// notOfAChange are steps that no change of an instance which serves takes, or that it takes while no engine runs.
var notOfAChange = []string{
	"keeper.prepared", "keeper.process-ended",
	"keeper.users-dropped", "keeper.drop-owed", "keeper.given-up", "keeper.removal-written", "keeper.stopped",
	"keeper.last-copy-made", "keeper.key-forgotten", "keeper.files-removed", "keeper.record-removed",
}

// TestEngineDiesBehindEveryStep changes an instance in each way, with keepers of which each sees the engine die behind
// another step: every change comes true, and what was written before is there.
func TestEngineDiesBehindEveryStep(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, step := range keeper.StepNames() {
		if slices.Contains(notOfAChange, step) || strings.Contains(step, "upgrade") {
			continue
		}
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			c := keepertest.Config(t, 1)
			b, stop := keepertest.Run(t, c)
			spec := mustApply(t, b)
			credentials, err := user(t.Context(), b, spec.Instance)
			if err != nil {
				t.Fatal(err)
			}
			mustQuery(t, credentials, "CREATE TABLE kept AS SELECT 42 AS n")
			stop()
			b, _, _ = keepertest.Start(t, c, keepertest.EnginesDie(step))
			for _, change := range []func(*backend.Spec){
				func(s *backend.Spec) { s.Size.Storage *= 2 },
				func(s *backend.Spec) { s.Restarts++ },
				func(s *backend.Spec) { s.Size.Memory *= 2 },
				func(s *backend.Spec) { s.Restarts++ },
			} {
				spec.Generation++
				change(&spec)
				mustReach(t, b, spec)
				mustQuery(t, credentials, "SELECT n FROM kept")
			}
			if _, err := os.Stat(filepath.Join(c.DataDir, keepertest.Struck)); err != nil {
				t.Errorf("no engine has died: %v", err)
			}
		})
	}
}

// mustQuery asks until the engine is up: it may just have died.
func mustQuery(t *testing.T, c backstay.Credentials, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c["uri"].(string)+"?sslmode=require")
		if err == nil {
			_, err = conn.Exec(ctx, sql)
			conn.Close(context.Background())
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

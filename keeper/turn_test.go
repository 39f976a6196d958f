package keeper_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
)

// gated is PostgreSQL whose backups, while its gate is closed, take until that is opened.
type gated struct {
	postgres.Engine
	gate *sync.RWMutex
}

func (g gated) Backup(
	ctx context.Context, n engine.Node, r backstay.Repository, gently bool,
) (backstay.Backup, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.Engine.Backup(ctx, n, r, gently)
}

// TestArchiveGoesOnBesideBackups: what is committed while backups take long is in the repository a minute later, also of
// an instance that is backed up, and of one that waits for its turn to be.
func TestArchiveGoesOnBesideBackups(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const atOnce = 2 // how many backups a machine takes at once
	c := backupConfig(t, atOnce+1)
	g := gated{gate: &sync.RWMutex{}}
	c.Engines["postgres"] = g
	b, _ := keepertest.Run(t, c)
	var all []*moments
	for range atOnce + 1 {
		m := &moments{T: t, p: products[0], c: c, b: b, spec: specOf(t, products[0])}
		m.spec.Backup = backedUp(t).Backup
		mustReach(t, b, m.spec)
		m.access = mustCredentials(t, b, m.spec.Instance)
		m.note()
		mustAwaitBackups(t, b, m.spec.Instance, atLeast(1))
		all = append(all, m)
	}
	open := sync.OnceFunc(g.gate.Unlock)
	g.gate.Lock()
	defer open() // the keeper waits for its backups
	for i, m := range all {
		m.ask()
		if i < atOnce {
			mustAwaitBackups(t, b, m.spec.Instance, func(k backend.Backups) bool { return k.Running })
		}
	}
	for i, m := range all {
		m.note()
		last := m.noted.last()
		kept := mustAwaitBackups(t, b, m.spec.Instance, func(k backend.Backups) bool { return k.Latest.After(last) })
		if took := time.Since(last); took > time.Minute+slowest {
			t.Errorf("the archive is %v behind", took)
		}
		if kept.Running != (i < atOnce) || len(kept.List) != 1 || len(kept.Gaps) > 0 {
			t.Errorf("while %d backups take long, the backups of %d are %+v", atOnce, i, kept)
		}
	}
	open()
	for _, m := range all {
		m.awaitAsked()
	}
}

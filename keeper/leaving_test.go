package keeper_test

import (
	"context"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/turn"
	"github.com/backstay/backstay/keeper/keepertest"
)

// longCopy is Redis with so much data that a copy for another node takes for ever, and that is copied once at a time, as
// MariaDB is.
type longCopy struct {
	redis.Engine
	one   *turn.Turn
	begun chan struct{}
}

func (e longCopy) Copy(ctx context.Context, _, _ engine.Node, _ func(string)) error {
	leave, err := e.one.Take(ctx)
	if err != nil {
		return err
	}
	defer leave()
	select {
	case e.begun <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (e longCopy) Backup(ctx context.Context, n engine.Node, r backstay.Repository, last bool) (backstay.Backup, error) {
	leave, err := e.one.Take(ctx)
	if err != nil {
		return backstay.Backup{}, err
	}
	defer leave()
	return e.Engine.Backup(ctx, n, r, last)
}

// TestRemovalAwaitsNoCopy removes an instance while its standby and a replica are made: they go with it, so that it waits
// for its last backup alone.
func TestRemovalAwaitsNoCopy(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*backend.Spec){
		"standby": func(*backend.Spec) {},
		"replica": func(s *backend.Spec) { three := 3; s.Reading.Replicas = &three },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, e := backupConfig(t, 8), longCopy{one: new(turn.Turn), begun: make(chan struct{}, 1)}
			c.Engines["redis"] = e
			b, _ := keepertest.Run(t, c)
			spec := backedUp(t)
			mustApplySpec(t, b, spec)
			mustAwaitBackups(t, b, spec.Instance, atLeast(1))
			spec.Generation, spec.Nodes = 2, 2
			change(&spec)
			mustApplySpec(t, b, spec)
			bounded(t, "a copy is begun", func() bool { return len(e.begun) > 0 })
			if err := b.Remove(t.Context(), spec.Instance); err != nil {
				t.Fatal(err)
			}
			awaitGone(t, b, spec.Instance)
			left := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return !k.Removed.IsZero() })
			if n := len(left.List); n < 2 || !left.List[n-1].Final {
				t.Errorf("its backups are %+v", left)
			}
		})
	}
}

package local_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend/backendtest"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestBackend(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 40))
	backendtest.Run(t, subject(b))
}

func TestArchive(t *testing.T) {
	t.Parallel()
	for name, its := range map[string]engine.Engine{
		"postgres": postgres.Engine{}, "mysql": mysql.Engine{}, "redis": redis.Engine{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && name != "redis" {
				t.Skip("takes some seconds")
			}
			c := keepertest.Config(t, 10)
			c.Engines = map[string]engine.Engine{name: its}
			c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
			b, _ := keepertest.Run(t, c)
			backendtest.RunArchive(t, subject(b))
		})
	}
}

// TestBackendWhoseKeeperIsKilled checks that changes come true whenever the keeper dies.
func TestBackendWhoseKeeperIsKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	c := keepertest.Config(t, 20)
	b, kill, _ := keepertest.Start(t, c, "")
	backendtest.RunKilled(t, subject(b), func() {
		kill()
		_, kill, _ = keepertest.Start(t, c, "")
	})
}

func subject(b *local.Backend) backendtest.Subject {
	certificate := func(t testing.TB) backstay.Certificate { return enginetest.Certificate(t, "localhost", "127.0.0.1") }
	return backendtest.Subject{
		Backend: b, Can: []string{"backups", "an origin", "more storage", "less storage"}, Connect: connect, Certificate: certificate,
	}
}

func connect(ctx context.Context, c backstay.Credentials) (backendtest.Session, error) {
	return pgx.Connect(ctx, c["uri"].(string)+"?sslmode=require")
}

// TestWaitsForTheKeeper asks before there is a keeper, and while one is being replaced.
func TestWaitsForTheKeeper(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	early := make(chan error, 1)
	go func() {
		_, err := local.New(c.DataDir + "/keeper/keeper.sock").Inventory(t.Context())
		early <- err
	}()
	b, stop := keepertest.Run(t, c)
	if err := <-early; err != nil {
		t.Errorf("asked before it was there: %v", err)
	}
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Inventory(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a keeper: %v, want %v", err, context.DeadlineExceeded)
	}
	keepertest.Run(t, c)
	if _, err := b.Inventory(t.Context()); err != nil {
		t.Errorf("asked the next keeper: %v", err)
	}
}

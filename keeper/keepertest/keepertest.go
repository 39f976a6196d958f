// Package keepertest runs keepers for tests of those who stand on one: in this process, with the real
// PostgreSQL, on ports and a directory of their own.
package keepertest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
)

// Config is that of a keeper with room for a number of instances. Engines that it leaves running end
// with the test.
func Config(t testing.TB, room int) keeper.Config {
	t.Helper()
	first, _ := testkit.Ports(t, room)
	c := keeper.Config{
		DataDir: testkit.Dir(t), Engines: map[string]engine.Engine{"postgres": postgres.Engine{}},
		Host: "localhost", Listen: []string{"127.0.0.1"}, Ports: keeper.PortRange{First: first, Last: first + room - 1},
		Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	t.Cleanup(func() {
		if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
			t.Errorf("stop engines: %v", err)
		}
	})
	return c
}

// Run runs a keeper until the test ends, or until stop is called, which leaves its engines running.
func Run(t testing.TB, c keeper.Config) (b *local.Backend, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- keeper.Run(ctx, c) }()
	b = local.New(filepath.Join(c.DataDir, "keeper", "keeper.sock"))
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("keeper: %v", err)
		}
	}
	t.Cleanup(stop)
	ready, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	if _, err := b.Inventory(ready); err != nil {
		t.Fatalf("the keeper does not answer: %v", err)
	}
	return b, stop
}

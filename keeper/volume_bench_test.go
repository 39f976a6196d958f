package keeper_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// BenchmarkCreateOnAVolume makes instances on images, each beside one in a directory: from the Spec to an engine that
// serves. It may take twice as long, and half a second.
func BenchmarkCreateOnAVolume(b *testing.B) {
	for _, p := range products {
		b.Run(p.engine, func(b *testing.B) {
			images, directories := keepertest.WithImages(b, 60), keepertest.Config(b, 60)
			onImages, inDirectories := benched(b, images), benched(b, directories)
			created(b, onImages, p) // what is made once
			created(b, inDirectories, p)
			var with, without []time.Duration
			for range min(max(b.N, 9), 50) {
				with = append(with, created(b, onImages, p))
				without = append(without, created(b, inDirectories, p))
			}
			report(b, middle(with), middle(without))
			b.ReportMetric(2, "ratio-allowed")
			b.ReportMetric(500, "ms-allowed")
		})
	}
}

func benched(b *testing.B, c keeper.Config) *local.Backend {
	c.Engines["mysql"], c.Engines["redis"] = mysql.Engine{}, redis.Engine{}
	c.Log = slog.New(slog.DiscardHandler)
	its, _ := keepertest.Run(b, c)
	return its
}

// created is how long it takes until a new instance serves, which is removed then.
func created(b *testing.B, its *local.Backend, p product) time.Duration {
	spec := specOf(b, p)
	began := time.Now()
	mustReach(b, its, spec)
	took := time.Since(began)
	if err := end(b.Context(), its, spec.Instance); err != nil {
		b.Fatal(err)
	}
	return took
}

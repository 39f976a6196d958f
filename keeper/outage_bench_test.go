package keeper_test

import (
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper/keepertest"
)

// BenchmarkOutage kills primaries, and has others change their parts, under a client that writes all the time: from its
// last write before to its first one afterwards. Beside that is what the promotion alone takes, as the engine does it.
func BenchmarkOutage(b *testing.B) {
	for _, p := range paired {
		b.Run(p.engine, func(b *testing.B) {
			c := keepertest.Config(b, 3)
			c.Engines["mysql"], c.Engines["redis"] = mysql.Engine{}, redis.Engine{}
			c.Log = slog.New(slog.DiscardHandler)
			its, _ := keepertest.Run(b, c)
			var failovers, promotions, switchovers []time.Duration
			for range max(b.N, 5) {
				killed, promoted, switched := outages(b, its, p)
				failovers, promotions, switchovers = append(failovers, killed), append(promotions, promoted),
					append(switchovers, switched)
			}
			b.ReportMetric(median(failovers).Seconds(), "s/failover")
			b.ReportMetric(median(promotions).Seconds(), "s/promotion")
			b.ReportMetric(median(switchovers).Seconds(), "s/switchover")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// median is the one in the middle.
func median(all []time.Duration) time.Duration { return slices.Sorted(slices.Values(all))[len(all)/2] }

// outages leads an instance of two through a failover and a switchover.
func outages(b *testing.B, its *local.Backend, p product) (killed, promoted, switched time.Duration) {
	b.Helper()
	spec := specOf(b, p)
	spec.Nodes = 2
	if err := its.Apply(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	until(b, its, spec.Instance, isProtected)
	c := mustCredentials(b, its, spec.Instance)
	primary := until(b, its, spec.Instance, isProtected).Nodes[0].Name
	killed = during(b, p, c, func() {
		if err := syscall.Kill(mustPID(b, its, spec.Instance), syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		s := until(b, its, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name != primary })
		promoted = s.Failover.Took
	}).longest
	until(b, its, spec.Instance, isProtected)
	spec.Generation, spec.Failovers = 2, 1
	switched = during(b, p, c, func() { mustReach(b, its, spec) }).longest
	if err := end(b.Context(), its, spec.Instance); err != nil {
		b.Fatal(err)
	}
	return killed, promoted, switched
}

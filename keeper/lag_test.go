package keeper_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestNodesStayForAnotherReading: how many nodes are read from, and how far behind these may be, is no matter of a node
// that follows. None is started again, and the instance is protected all the while.
func TestNodesStayForAnotherReading(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec, _, stop := newPair(t, b, p)
		before := until(t, b, spec.Instance, isProtected)
		nodes := []string{"2"}
		pids := map[string]int{}
		stay := func(wanted backend.Reading, has func(backend.Status) bool) {
			for _, name := range nodes {
				pids[name] = onlyPID(t, filepath.Join(c.DataDir, "instances", homeOf(spec, name)))
			}
			spec.Generation, spec.Reading = spec.Generation+1, wanted
			mustReach(t, b, spec)
			began := time.Now()
			for done := false; !done || time.Since(began) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
				now := until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running })
				for _, name := range nodes {
					again := onlyPID(t, filepath.Join(c.DataDir, "instances", homeOf(spec, name)))
					if again != pids[name] || !now.Protected.Equal(before.Protected) {
						t.Fatalf("for %+v, node %s is process %d, and was %d; the standby stands by since %v, and did since %v",
							wanted, name, again, pids[name], now.Protected, before.Protected)
					}
				}
				if done = has(now); time.Since(began) > limit {
					t.Fatalf("for %+v, it does not come to what is wanted: %+v", wanted, now.Nodes)
				}
			}
		}
		hasReplica := func(s backend.Status) bool { return len(s.Nodes) == 3 && s.Nodes[2].Phase == backend.Running }
		stay(readFrom(2), hasReplica)
		nodes = append(nodes, "3")
		late := readFrom(2)
		late.MaxLag = 7
		stay(late, hasReplica)
		stop()
	})
}

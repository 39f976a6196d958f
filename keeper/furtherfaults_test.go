package keeper_test

import (
	"context"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestKeeperDiesBehindEveryReplicaStep leads instances with further replicas through whole lives, with keepers of which
// each dies behind another step.
func TestKeeperDiesBehindEveryReplicaStep(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		lead := func(enough <-chan struct{}) error {
			for {
				if err := leadReplicas(ctx, c, p, specOf(t, p)); err != nil {
					return err
				}
				select {
				case <-enough:
					return nil
				default:
				}
			}
		}
		dieBehindEach(t, c, instance.ReplicaStepNames(), lead, func(*keeper.Config, string) {})
	})
}

// leadReplicas takes an instance with a further replica through its life: it is read from, its standby takes over, and it
// loses the replica.
func leadReplicas(ctx context.Context, c keeper.Config, p product, spec backend.Spec) error {
	b := local.New(keepertest.Socket(c))
	spec.Nodes, spec.Reading = 2, readFrom(2)
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	credentials, err := user(ctx, b, spec.Instance)
	if err != nil {
		return err
	}
	follows := func(s backend.Status) bool {
		return len(s.Nodes) == 3 && !s.Protected.IsZero() && s.Nodes[2].Phase == backend.Running
	}
	if err := add(ctx, p, credentials, 1); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, follows); err != nil {
		return err
	}
	if err := readReplica(ctx, b, p, spec.Instance, 1); err != nil {
		return err
	}
	spec.Generation, spec.Failovers = 2, spec.Failovers+1
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := add(ctx, p, credentials, 2); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, follows); err != nil {
		return err
	}
	if err := readReplica(ctx, b, p, spec.Instance, 2); err != nil {
		return err
	}
	spec.Generation, spec.Reading = 3, readFrom(1)
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 2 }); err != nil {
		return err
	}
	if err := vacated(ctx, c, homeOf(spec, "3")); err != nil {
		return err
	}
	return end(ctx, b, spec.Instance)
}

// TestReplicaThatHangs is nobody's trouble: reads go to the others, who is unbound reads from it no more, and the standby
// takes over when that is asked for, and when the primary is lost.
func TestReplicaThatHangs(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec, writes, reads := withReplicas(t, p, b, 10)
		gone, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u3"))
		if err != nil {
			t.Fatal(err)
		}
		var sessions []writer
		for range 3 {
			sessions = append(sessions, mustRead(t, p, gone))
			wantRead(t, sessions[len(sessions)-1], true, 1)
		}
		goOn := mustStop(t, c, homeOf(spec, "3"))
		began := time.Now()
		if err := b.DropUser(t.Context(), spec.Instance, "u3"); err != nil {
			t.Errorf("drop a user while a replica hangs: %v", err)
		}
		t.Logf("dropped after %v", time.Since(began))
		for _, s := range sessions {
			wantEnded(t, s)
		}
		wantShutOut(t, p, gone)
		until(t, b, spec.Instance, func(s backend.Status) bool {
			return len(s.Nodes) == 4 && !s.Nodes[0].Reads && s.Nodes[1].Reads && !s.Nodes[2].Reads && s.Nodes[3].Reads
		})
		wantAllRead(t, p, c, 2, reads, 1)

		primary := until(t, b, spec.Instance, isProtected4).Nodes[0].Name
		spec.Generation, spec.Failovers = spec.Generation+1, spec.Failovers+1
		began = time.Now()
		mustApplySpec(t, b, spec)
		s := until(t, b, spec.Instance, func(s backend.Status) bool {
			return isProtected4(s) && s.Nodes[0].Name != primary && s.Drill != nil && !s.Drill.Ended.IsZero()
		})
		t.Logf("the standby has taken over after %v: writes failed for %v", time.Since(began), s.Drill.Failed)
		if s.Drill.Failed > 4*time.Second {
			t.Errorf("a replica that hangs has held up a switchover: writes failed for %v", s.Drill.Failed)
		}
		goOn()
		until(t, b, spec.Instance, isReadFrom(3))
		mustNoteAs(t, p, writes, 2)
		wantAllRead(t, p, c, 3, reads, 1, 2)
	})
}

// TestReplicaThatIsBehindIsNotReadFrom: who holds up what one replica is sent is ended when that is too old; the others
// are read from all the while.
func TestReplicaThatIsBehindIsNotReadFrom(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		if p.engine == "redis" {
			t.Skip("nobody who reads can hold up what a replica of Redis is sent")
		}
		b, _ := keepertest.Run(t, c)
		spec, writes, reads := withReplicas(t, p, b, 2)
		goOn := mustStop(t, c, homeOf(spec, "3")) // so that nobody is sent there
		until(t, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 4 && !s.Nodes[2].Reads })
		others := []writer{mustRead(t, p, reads), mustRead(t, p, reads)}
		for _, r := range others {
			wantRead(t, r, true, 1)
		}
		goOn()
		until(t, b, spec.Instance, isReadFrom(3))
		r := mustRead(t, p, reads) // where the fewest are
		wantRead(t, r, true, 1)
		w, err := p.open(t.Context(), writes)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		if err := holdUp(t.Context(), r, w); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		isBehind := func(s backend.Status) bool {
			behind := 0
			for _, n := range s.Nodes[1:] {
				if !n.Reads {
					behind++
				}
			}
			return len(s.Nodes) == 4 && behind == 1 && isBehindTold(s)
		}
		s := until(t, b, spec.Instance, isBehind)
		t.Logf("one is not read from after %v: %+v, %+v", time.Since(began), s.Nodes, s.Troubles)
		wantEnded(t, r)
		until(t, b, spec.Instance, func(s backend.Status) bool { return isReadFrom(3)(s) && !isBehindTold(s) })
		t.Logf("and all are again after %v", time.Since(began))
	})
}

// TestReplicasOutliveTheRecord: a keeper that has lost the record of an instance has its replicas follow again, whether
// its nodes run or not.
func TestReplicasOutliveTheRecord(t *testing.T) {
	testkit.InSomeRuns(t)
	for name, forget := range map[string]func(*testing.T, keeper.Config){
		"its nodes run": func(*testing.T, keeper.Config) {},
		"they do not":   stopEngines,
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("it takes a while")
			}
			t.Parallel()
			p, c := products[0], keepertest.Config(t, 16) // nodes that do not run are given other ports
			b, kill, _ := keepertest.Start(t, c, "")
			spec, _, reads := withReplicas(t, p, b, 10)
			before := until(t, b, spec.Instance, isReadFrom(3))
			kill()
			forget(t, c)
			if err := os.Remove(recordPath(c, spec.Instance)); err != nil {
				t.Fatal(err)
			}
			b, _ = keepertest.Run(t, c)
			spec.Served = &backend.Served{Endpoint: before.Endpoint, Reads: before.Reads}
			mustApplySpec(t, b, spec)
			until(t, b, spec.Instance, isReadFrom(3))
			wantAllRead(t, p, c, 3, reads, 1)
			if err := end(t.Context(), b, spec.Instance); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"1", "2", "3", "4"} {
				if pids := pidsIn(c, homeOf(spec, name)); len(pids) > 0 {
					t.Errorf("node %s runs on: %v", name, pids)
				}
			}
		})
	}
}

// TestReplicasAreNeverChosen: not even where the primary and its standby are lost at once.
func TestReplicasAreNeverChosen(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec, writes, reads := withReplicas(t, p, b, 10)
		killIn(c, homeOf(spec, "2"))
		mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGKILL)
		until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase != backend.Running })
		s := until(t, b, spec.Instance, isReadFrom(3))
		if name := s.Nodes[0].Name; name != "1" && name != "2" {
			t.Errorf("node %s is the primary", name)
		}
		for range 3 {
			r := mustRead(t, p, reads)
			wantRead(t, r, true, 1)
			if err := r.(noter).note(t.Context(), 2); err == nil {
				t.Error("a replica takes a write")
			}
		}
		mustNoteAs(t, p, writes, 2)
		wantAllRead(t, p, c, 3, reads, 1, 2)
	})
}

// isBehindTold tells whether it is told that a node is not read from because it is behind.
func isBehindTold(s backend.Status) bool {
	return slices.ContainsFunc(s.Troubles, func(t backstay.Trouble) bool { return t.Kind == "replica" })
}

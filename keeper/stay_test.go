package keeper_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestFollowersStay as they are for what is no matter of theirs: how many nodes are read from, how far behind these may
// be, when backups are taken, and that one is. None is started again, and the instance is protected all the while. Nor is
// the standby that is asked to take over.
func TestFollowersStay(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Nodes, spec.Backup = 2, backedUp(t).Backup
		mustReach(t, b, spec)
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		f := followers{T: t, c: c, b: b, spec: spec, names: []string{"2"}}

		hasReplica := func(s backend.Status) bool { return len(s.Nodes) == 3 && s.Nodes[2].Phase == backend.Running }
		f.mustStay("a replica", hasReplica, func(s *backend.Spec) { s.Reading = readFrom(2) })
		f.names = append(f.names, "3")
		f.mustStay("another lag", hasReplica, func(s *backend.Spec) { s.Reading.MaxLag = 7 })
		f.mustStay("another window", hasReplica, func(s *backend.Spec) {
			policy := *s.Backup
			policy.Window, policy.Days = "01:00-01:30", policy.Days+1
			s.Backup = &policy
		})
		f.mustStay("a backup", hasReplica, func(s *backend.Spec) { s.Backups++ })

		second := f.pid("2")
		f.spec.Generation, f.spec.Failovers = f.spec.Generation+1, f.spec.Failovers+1
		mustReach(t, b, f.spec)
		until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
		if now := f.pid("2"); now != second {
			t.Errorf("the standby, which was asked to take over, is process %d, and was %d", now, second)
		}
	})
}

// followers are nodes that follow, and are to be the same processes all the while.
type followers struct {
	*testing.T
	c     keeper.Config
	b     *local.Backend
	spec  backend.Spec
	names []string
}

// mustStay changes the Spec, and looks at the followers until it has come to what is wanted, and for a while afterwards.
func (f *followers) mustStay(what string, has func(backend.Status) bool, change func(*backend.Spec)) {
	f.Helper()
	protected, pids := until(f.T, f.b, f.spec.Instance, running).Protected, map[string]int{}
	for _, name := range f.names {
		pids[name] = f.pid(name)
	}
	f.spec.Generation++
	change(&f.spec)
	mustReach(f.T, f.b, f.spec)
	began := time.Now()
	for done := false; !done || time.Since(began) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
		now := until(f.T, f.b, f.spec.Instance, running)
		if !now.Protected.Equal(protected) {
			f.Fatalf("for %s: the standby stands by since %v, and did since %v", what, now.Protected, protected)
		}
		for _, name := range f.names {
			if again := f.pid(name); again != pids[name] {
				f.Fatalf("for %s: node %s is process %d, and was %d", what, name, again, pids[name])
			}
		}
		if done = has(now); time.Since(began) > limit {
			f.Fatalf("for %s: it does not come to what is wanted: %+v", what, now.Nodes)
		}
	}
}

func (f *followers) pid(name string) int {
	f.Helper()
	return mainPID(f.T, filepath.Join(f.c.DataDir, "instances", homeOf(f.spec, name)))
}

package keeper_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestReplicasReturn to an earlier backup with their instance: nobody reads there what was written since, and they follow
// what is written next.
func TestReplicasReturn(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Reading, spec.Backup = readFrom(2), backedUp(t).Backup
		writes, reads := mustBeRead(t, p, b, &spec)
		spec.Generation, spec.Backups = spec.Generation+1, 1
		mustReach(t, b, spec)
		kept := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return k.Asked == 1 && !k.Running })
		untilWithin(t, 2*time.Minute, b, spec.Instance, isReadFrom(2))
		mustNoteAs(t, p, writes, 2)
		wantAllRead(t, p, c, 2, reads, 1, 2)

		spec.Generation, spec.Origin = spec.Generation+1, &backend.Origin{
			Instance: spec.Instance, Key: spec.Backup.Key, Backup: kept.List[len(kept.List)-1].ID, Alone: true, Return: 1,
		}
		mustReach(t, b, spec)
		untilWithin(t, 3*time.Minute, b, spec.Instance, isReadFrom(2))
		writes = mustCredentials(t, b, spec.Instance)
		reads, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u2"))
		if err != nil {
			t.Fatal(err)
		}
		untilWithin(t, time.Minute, b, spec.Instance, isReadFrom(2))
		wantAllRead(t, p, c, 2, reads, 1)
		mustNoteAs(t, p, writes, 3)
		wantAllRead(t, p, c, 2, reads, 1, 3)
	})
}

// TestReplicasVolumeHangs: a replica whose volume alone does not answer is nobody's trouble. The others are read from,
// who is unbound reads no more, and the standby starts again for another generation and takes over.
func TestReplicasVolumeHangs(t *testing.T) {
	testkit.InSomeRuns(t)
	images := func(t *testing.T) keeper.Config { return keepertest.WithImages(t, 10) }
	onEachPaired(t, images, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Reading = readFrom(2)
		writes, reads := mustBeRead(t, p, b, &spec)
		gone, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u3"))
		if err != nil {
			t.Fatal(err)
		}
		thaw := testkit.Freeze(t, filepath.Join(c.DataDir, "instances", homeOf(spec, "3")))
		defer thaw() // before the keeper ends
		mustNoteAs(t, p, writes, 2)
		if err := b.DropUser(t.Context(), spec.Instance, "u3"); err != nil {
			t.Errorf("drop a user while a replica hangs: %v", err)
		}
		wantShutOut(t, p, gone)
		spec.Generation, spec.Failovers = spec.Generation+1, spec.Failovers+1
		mustReach(t, b, spec)
		s := untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
			return running(s) && !s.Protected.IsZero() && s.Nodes[0].Name == "2" && s.Nodes[1].Reads
		})
		t.Logf("the standby has taken over: %+v", s.Nodes)
		mustNoteAs(t, p, writes, 3)
		thaw()
		untilWithin(t, 2*time.Minute, b, spec.Instance, isReadFrom(2))
		wantAllRead(t, p, c, 2, reads, 1, 2, 3)
	})
}

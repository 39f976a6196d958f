package enginetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
)

// testLossBehindFailover removes a part of what a standby has archived that has taken over, and of which there is no
// backup yet: it is missed by whoever begins with the backup from before. Without that, nothing is missed, also not of
// what the primary that was killed has left.
func testLossBehindFailover(t *testing.T, s Subject) {
	a := s.archiver(t)
	p := s.pair(t)
	b := a.mustBackup(t, p.Primary())
	if a.mustArchive(t, p.Primary()).Until.IsZero() {
		t.Skip("this engine has no archive")
	}
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 2)
	l.awaitMore(t, 50)
	a.mustArchive(t, p.Primary())
	l.awaitMore(t, 50)
	p.KillPrimary(t)
	p.FailOver(t)
	a.mustArchive(t, p.nodes[1-p.leads])
	set := func(value string) (archived []string) {
		time.Sleep(time.Second) // an engine may know the times of commits to the second
		before := files(t, a.repository.Dir)
		s.session(t, c[p.leads], func(c Session) { mustSet(t, c, "key", value) })
		a.awaitArchived(t, p.Primary(), time.Now())
		return slices.DeleteFunc(files(t, a.repository.Dir), func(path string) bool {
			return slices.Contains(before, path) || strings.HasSuffix(path, ".history")
		})
	}
	set("kept")
	lost := set("lost")
	set("later")
	if len(lost) == 0 {
		t.Fatal("nothing was archived")
	}
	a.mustVerify(t, p.Primary(), b)
	whole := a.repository
	a.repository.Dir = copyDir(t, whole.Dir)
	// A new primary may hand over, late, what was logged before the first backup: that is not missed by anybody.
	remove(t, a.repository.Dir+strings.TrimPrefix(slices.Max(lost), whole.Dir))
	f, err := a.Verify(t.Context(), bare(p.Primary()), a.repository)
	if err != nil || f.Backups[b.ID] != "" || len(f.Lost) != 1 || !f.Lost[0].From.After(b.Ended) {
		t.Fatalf("Verify: %+v, %v; want one gap, behind %v", f, err, b.Ended)
	}
	a.wantNoRestore(t, engine.Point{Backup: b.ID}, "a part of the archive behind the failover is gone")
	a.restored(t, engine.Point{Backup: b.ID, Until: f.Lost[0].From.Truncate(time.Second)})
}

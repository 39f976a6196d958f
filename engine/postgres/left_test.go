package postgres_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
)

// TestLeftLineIsRestored: what a server has committed until its end is restored, though the instance returned to an
// earlier moment then, and though the repository was away at the end, so that what was logged before and behind the return
// gets there together. What the instance goes on with is restored from the backup of before both, and only from that one.
func TestLeftLineIsRestored(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	l := newLeaving(t)
	over := l.end(t, func(p *enginetest.Process) { p.Stop(t) })
	r := l.r
	l.r.Dir += ".away"
	if _, err := archiving.Archive(t.Context(), l.n, l.r, 0, over); backstay.KindOf(err) != backstay.Unavailable {
		t.Fatalf("without a repository: %v", err)
	}
	l.r = r
	late := l.goOn(t, over)
	l.want(t, engine.Point{Backup: l.first.ID, Until: l.back}, "1")
	l.want(t, engine.Point{Backup: l.first.ID, Until: over}, "1,2")
	l.want(t, engine.Point{Backup: l.second.ID, Until: over}, "1,2")
	l.want(t, engine.Point{Backup: l.first.ID, Until: late}, "1,3")
	err := archiving.Restore(t.Context(), enginetest.NewNode(t, archiving), l.r, engine.Point{Backup: l.second.ID, Until: late})
	if !errors.Is(err, engine.ErrLeft) || backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("from a backup of what was left, a later moment is restored: %v", err)
	}
}

// TestLineThatEndsInDisorder: what a server that was killed has not handed over is lost for the archive, if the instance
// returns to an earlier moment then. The gap goes on until nobody serves it any more.
func TestLineThatEndsInDisorder(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	l := newLeaving(t)
	over := l.end(t, func(p *enginetest.Process) { p.Kill(t) })
	a, err := archiving.Archive(t.Context(), l.n, l.r, 0, over)
	if err != nil || len(a.Gaps) != 1 || !a.Gaps[0].Until.Equal(over) || !a.Gaps[0].From.Before(over) {
		t.Fatalf("the gaps are %+v, %v, want one until %v", a.Gaps, err, over)
	}
	late := l.goOn(t, over)
	l.want(t, engine.Point{Backup: l.first.ID, Until: l.back}, "1")
	wantBehindGap(t, l.r, engine.Point{Backup: l.first.ID, Until: over})
	wantBehindGap(t, l.r, engine.Point{Backup: l.first.ID, Until: late})
}

// TestEndedServerGoesOn: a server that has ended, and is started again within the same second, has not said until when the
// archive reaches for that second.
func TestEndedServerGoesOn(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.p.Stop(t)
	a := mustArchive(t, l.n, l.r)
	if now := time.Now(); a.Until.After(now) || a.Until.Before(now.Add(-time.Minute)) {
		t.Errorf("at %v, the archive of a server that may go on reaches until %v", now, a.Until)
	}
}

// leaving is a server that was backed up before and behind a moment, to which its instance is to return.
type leaving struct {
	n             engine.Node
	p             *enginetest.Process
	r             backstay.Repository
	first, second backstay.Backup
	back          time.Time
}

func newLeaving(t *testing.T) *leaving {
	t.Helper()
	l := &leaving{n: enginetest.NewNode(t, archiving), r: enginetest.NewRepository(t)}
	l.p = enginetest.Serve(t, archiving, l.n)
	l.first = mustBackUp(t, l.n, l.r)
	c := server{l.n}.bind(t).connect(t)
	c.do(t, "CREATE TABLE made (n int)", "INSERT INTO made VALUES (1)")
	l.back = engine.WholeSecond(time.Now())
	time.Sleep(time.Until(l.back.Add(10 * time.Millisecond)))
	c.do(t, "INSERT INTO made VALUES (2)")
	l.second = mustBackUp(t, l.n, l.r)
	c.Close(t.Context())
	return l
}

// end ends the server, and returns until when nobody serves the instance.
func (l *leaving) end(t *testing.T, end func(*enginetest.Process)) (over time.Time) {
	t.Helper()
	end(l.p)
	return engine.WholeSecond(time.Now())
}

// goOn serves what the instance has returned to, from then on that it is over with what it has left, and returns the
// moment until which it was written to.
func (l *leaving) goOn(t *testing.T, over time.Time) (late time.Time) {
	t.Helper()
	to := l.n
	to.DataDir = filepath.Join(filepath.Dir(to.DataDir), "returned")
	if err := archiving.Restore(t.Context(), to, l.r, engine.Point{Backup: l.first.ID, Until: l.back}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(over))
	for _, name := range names(t, to.RunDir) { // which a server that was killed leaves
		if err := os.Remove(filepath.Join(to.RunDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Serve(t, archiving, to)
	server{to}.bind(t).connect(t).do(t, "INSERT INTO made VALUES (3)")
	late = engine.WholeSecond(time.Now())
	time.Sleep(time.Until(late.Add(10 * time.Millisecond)))
	await(t, "the archive's end", func() bool { return mustArchive(t, to, l.r).Until.After(late) })
	return late
}

// want wants what is restored to have those rows.
func (l *leaving) want(t *testing.T, to engine.Point, rows string) {
	t.Helper()
	n := enginetest.NewNode(t, archiving)
	if err := archiving.Restore(t.Context(), n, l.r, to); err != nil {
		t.Errorf("restore %v from %s: %v", to.Until, to.Backup, err)
		return
	}
	p := enginetest.Serve(t, archiving, n)
	server{n}.bind(t).connect(t).want(t, "SELECT string_agg(n::text, ',' ORDER BY n) FROM made", rows)
	p.Stop(t)
}

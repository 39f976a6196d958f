package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
)

// TestArchiveIsTakenUp by a node with the same history, as one that is restored on a new machine, and by one with
// another, as after an upgrade. What either commits before its first backup is behind a gap, which the repository tells
// of: from the backup that was there before, no moment behind it is restored, and none before it is lost.
func TestArchiveIsTakenUp(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	for name, next := range map[string]func(*testing.T, backstay.Repository, backstay.Backup) engine.Node{
		"restored": func(t *testing.T, r backstay.Repository, b backstay.Backup) engine.Node {
			n := enginetest.NewNode(t, archiving)
			if err := archiving.Restore(t.Context(), n, r, engine.Point{Backup: b.ID}); err != nil {
				t.Fatal(err)
			}
			return n
		},
		"another server": func(t *testing.T, _ backstay.Repository, _ backstay.Backup) engine.Node {
			return enginetest.NewNode(t, archiving)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := enginetest.NewNode(t, archiving)
			p := enginetest.Serve(t, archiving, before)
			r := enginetest.NewRepository(t)
			b := mustBackUp(t, before, r)
			c := server{before}.bind(t).connect(t)
			c.do(t, "CREATE TABLE made (n int)", "INSERT INTO made VALUES (1)")
			reached := engine.WholeSecond(time.Now())
			time.Sleep(time.Until(reached.Add(10 * time.Millisecond)))
			c.do(t, "INSERT INTO made VALUES (2)")
			await(t, "the archive's end", func() bool {
				mustArchive(t, before, r)
				a, err := archiving.Reached(t.Context(), before, r)
				return err == nil && a.Until.After(reached)
			})
			p.Stop(t)
			ended := engine.WholeSecond(time.Now())
			if _, err := archiving.Archive(t.Context(), before, r, 0, ended); err != nil {
				t.Fatal(err)
			}
			if a, err := archiving.Reached(t.Context(), before, r); err != nil || a.Until.Before(ended) {
				t.Errorf("at its end the repository says %+v, %v, want it to reach %v", a, err, ended)
			}
			time.Sleep(time.Until(ended)) // until when nothing else serves

			n := next(t, r, b)
			enginetest.Serve(t, archiving, n)
			server{n}.bind(t).connect(t).do(t, "CREATE TABLE other (n int)")
			late := time.Now()
			var gaps []backstay.Gap
			await(t, "the gap", func() bool {
				a := mustArchive(t, n, r)
				gaps = append(gaps, a.Gaps...)
				return len(gaps) > 0 && a.Until.After(b.Ended)
			})
			if g := gaps[0]; g.From.Before(reached) || g.From.After(late) || g.Until.Before(late) {
				t.Errorf("the gap is %+v, want it to reach from %v over %v", g, reached, late)
			}
			a, err := archiving.Reached(t.Context(), n, r)
			if err != nil || len(a.Gaps) == 0 || a.Until.Before(reached) || !a.Gaps[0].From.Equal(gaps[0].From) {
				t.Errorf("the repository says %+v, %v, want the gap %+v", a, err, gaps[0])
			}
			wantBehindGap(t, r, engine.Point{Backup: b.ID, Until: late})
			to := enginetest.NewNode(t, archiving)
			if err := archiving.Restore(t.Context(), to, r, engine.Point{Backup: b.ID, Until: reached}); err != nil {
				t.Fatal(err)
			}
			enginetest.Serve(t, archiving, to)
			server{to}.bind(t).connect(t).want(t, "SELECT sum(n) FROM made", "1")

			second := mustBackUp(t, n, r)
			wantBehindGap(t, r, engine.Point{Backup: b.ID, Until: late})
			if err := archiving.Expire(t.Context(), n, r, []string{second.ID}); err != nil {
				t.Fatal(err)
			}
			if a, err := archiving.Reached(t.Context(), n, r); err != nil || len(a.Gaps) > 0 {
				t.Errorf("behind the backup that is left the repository tells of %+v, %v", a.Gaps, err)
			}
		})
	}
}

// TestHeadReachesTheGap: what an idle server's archive reaches without a segment more is known when another server takes
// its place, as by an upgrade.
func TestHeadReachesTheGap(t *testing.T) {
	t.Parallel()
	before, after := enginetest.NewNode(t, archiving), enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, before)
	r := enginetest.NewRepository(t)
	mustBackUp(t, before, r)
	reached := func() engine.Archived {
		a, err := archiving.Reached(t.Context(), before, r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var idle time.Time
	await(t, "a time without a segment", func() bool {
		idle = mustArchive(t, before, r).Until
		return idle.After(reached().Until.Add(time.Second))
	})
	spool := func(n engine.Node) string { return filepath.Join(filepath.Dir(n.DataDir), "archive.out") }
	if err := os.CopyFS(spool(after), os.DirFS(spool(before))); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, archiving, after)
	c := server{after}.admin(t)
	await(t, "the gap", func() bool { // what it hands over before there is a spool for it, nobody archives
		c.do(t, "SELECT pg_current_xact_id()", "SELECT pg_switch_wal()")
		return len(mustArchive(t, after, r).Gaps) > 0
	})
	if a := reached(); a.Until.Before(idle) || len(a.Gaps) != 1 || !a.Gaps[0].From.Equal(a.Until) {
		t.Errorf("the repository says %+v, want a gap from its end on, which is not before %v", a, idle)
	}
}

func wantBehindGap(t *testing.T, r backstay.Repository, to engine.Point) {
	t.Helper()
	n := enginetest.NewNode(t, archiving)
	err := archiving.Restore(t.Context(), n, r, to)
	if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), "has a gap") {
		t.Errorf("%v is restored: %v", to.Until, err)
	}
}

package postgres_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
)

// history is a server that was written to, has returned to an earlier moment twice, and has one backup, of before all
// that. Each number was committed a second and more before the moment of it.
//
//	1 2          on the first timeline
//	  \ 3 4      on the second one, from 1 on
//	    \ 5 6    on the third one, from 3 on
type history struct {
	node   engine.Node
	of     backstay.Repository
	backup backstay.Backup
	moment [7]time.Time // from 1 on
}

func newHistory(t *testing.T) (h history) {
	t.Helper()
	h.node, h.of = enginetest.NewNode(t, archiving), enginetest.NewRepository(t)
	p := enginetest.Serve(t, archiving, h.node)
	h.backup = mustBackUp(t, h.node, h.of)
	h.do(t, "CREATE TABLE public.made (n int)")
	for n := 1; n < len(h.moment); n++ {
		if n == 3 || n == 5 { // it was left behind 2 and 4
			p.Stop(t)
			p = h.returnTo(t, h.moment[n-2])
		}
		h.do(t, fmt.Sprintf("INSERT INTO public.made VALUES (%d)", n))
		h.moment[n] = engine.WholeSecond(time.Now())
		time.Sleep(time.Until(h.moment[n].Add(10 * time.Millisecond)))
		await(t, "the archive's end", func() bool { return !mustArchive(t, h.node, h.of).Until.Before(h.moment[n]) })
	}
	return h
}

func (h history) do(t *testing.T, sql string) {
	t.Helper()
	server{h.node}.admin(t).do(t, sql)
}

// returnTo has the server, which has ended, go on from an earlier moment as the keeper does: in another data directory,
// beside which lies what is known of the archive.
func (h *history) returnTo(t *testing.T, moment time.Time) *enginetest.Process {
	t.Helper()
	mustArchive(t, h.node, h.of)
	next := h.node
	next.DataDir += "-next"
	if err := archiving.Restore(t.Context(), next, h.of, engine.Point{Backup: h.backup.ID, Until: moment}); err != nil {
		t.Fatal(err)
	}
	h.node = next
	return enginetest.Serve(t, archiving, next)
}

// want wants these numbers to be there where the backup is restored until a moment, zero: until the end.
func (h history) want(t *testing.T, moment time.Time, numbers string) {
	t.Helper()
	n := enginetest.NewNode(t, archiving)
	if err := archiving.Restore(t.Context(), n, h.of, engine.Point{Backup: h.backup.ID, Until: moment}); err != nil {
		t.Errorf("until %v: %v", moment, err)
		return
	}
	p := enginetest.Serve(t, archiving, n)
	defer p.Stop(t)
	server{n}.admin(t).want(t, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM public.made", numbers)
}

func (h history) verified(t *testing.T) engine.Findings {
	t.Helper()
	f, err := archiving.Verify(t.Context(), h.node, h.of)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// without returns the history with another repository, in which a file is missing.
func (h history) without(t *testing.T, file string) history {
	t.Helper()
	dir := filepath.Join(testkit.Dir(t), "repository")
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", h.of.Dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if err := os.Remove(filepath.Join(dir, strings.TrimPrefix(file, h.of.Dir))); err != nil {
		t.Fatal(err)
	}
	h.of.Dir = dir
	return h
}

// TestLeftTimelines: a moment is restored from the timeline on which the server was then, and none that was left has
// lost anything. What is missing of one, though it has no backup of its own, and of how one began, is found, and nothing
// is restored that needs it.
func TestLeftTimelines(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	h := newHistory(t)
	if f := h.verified(t); f.Backups[h.backup.ID] != "" || len(f.Lost) != 0 {
		t.Errorf("where all is there, Verify: %+v", f)
	}
	for n, numbers := range []string{1: "1", 2: "1 2", 3: "1 3", 4: "1 3 4", 5: "1 3 5", 6: "1 3 5 6"} {
		if n > 0 {
			h.want(t, h.moment[n], numbers)
		}
	}
	h.want(t, time.Time{}, "1 3 5 6")
	for timeline, last := range map[string]struct {
		moment  int // that is restored without the timeline
		numbers string
	}{"00000002": {2, "1 2"}, "00000003": {4, "1 3 4"}} {
		needed := h.files(t, timeline+"????????????????-*")
		if len(needed) == 0 {
			t.Fatalf("nothing was archived of timeline %s", timeline)
		}
		for _, file := range append(h.files(t, timeline+".history"), needed[0], needed[len(needed)-1]) {
			harmed := h.without(t, file)
			f := harmed.verified(t)
			if f.Backups[h.backup.ID] != "" || len(f.Lost) != 1 {
				t.Errorf("without %s, Verify: %+v; want one gap", filepath.Base(file), f)
				continue
			}
			if g := f.Lost[0]; g.From.Before(h.moment[last.moment]) || g.From.After(h.moment[last.moment+2]) ||
				!g.Until.After(g.From) {
				t.Errorf("without %s, the gap is %v; want it behind %v", filepath.Base(file), g, h.moment[last.moment])
			}
		}
		harmed := h.without(t, needed[0])
		harmed.want(t, h.moment[last.moment], last.numbers)
		harmed.wantDamaged(t, h.moment[last.moment+2])
		h.without(t, h.files(t, timeline+".history")[0]).wantDamaged(t, h.moment[last.moment+2])
	}
}

// files are those of the archive with such a name.
func (h history) files(t *testing.T, pattern string) []string {
	t.Helper()
	var found []string
	for _, below := range []string{"*", "*/*"} {
		some, err := filepath.Glob(filepath.Join(h.of.Dir, h.of.Part, "archive", "main", below, pattern))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, some...)
	}
	return found
}

// wantDamaged wants nothing to be restored of a moment, and the archive to be called damaged.
func (h history) wantDamaged(t *testing.T, moment time.Time) {
	t.Helper()
	n := enginetest.NewNode(t, archiving)
	err := archiving.Restore(t.Context(), n, h.of, engine.Point{Backup: h.backup.ID, Until: moment})
	if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), "damaged") {
		t.Errorf("until %v: %v; want the archive to be damaged", moment, err)
	}
}

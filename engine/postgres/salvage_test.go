package postgres_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
)

// TestWhatWasNotHandedOver kills a primary that has finished segments of its log, and has not handed them over: they are
// in the archive nevertheless, before what the standby logs that takes over. Whether it is copied or rejoins first makes
// no difference.
func TestWhatWasNotHandedOver(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	e, r := postgres.Engine{}, enginetest.NewRepository(t)
	p := enginetest.NewPair(t, e, "")
	old := p.Primary()
	first, err := e.Backup(t.Context(), old, r, false)
	if err != nil {
		t.Fatal(err)
	}
	p.Protect(t)
	b := server{old}.bind(t)
	stopArchiver(t, old)
	admin := b.admin(t)
	for range 3 {
		b.connect(t).do(t, `CREATE TABLE IF NOT EXISTS logged (n int)`, `INSERT INTO logged VALUES (1)`)
		admin.do(t, `SELECT pg_switch_wal()`)
	}
	p.KillPrimary(t)
	p.FailOver(t)
	p.Rejoin(t)
	archived, err := e.Archive(t.Context(), old, r, 0, time.Time{})
	if err != nil || len(archived.Gaps) > 0 {
		t.Errorf("what is left is archived with %v, %v", archived.Gaps, err)
	}
	server{p.Primary()}.bind(t).connect(t).do(t, `INSERT INTO logged VALUES (1)`)
	moment := time.Now()
	for archived = (engine.Archived{}); archived.Until.Before(moment); time.Sleep(100 * time.Millisecond) {
		if archived, err = e.Archive(t.Context(), p.Primary(), r, 0, time.Time{}); err != nil || len(archived.Gaps) > 0 {
			t.Fatalf("what the standby goes on with is archived with %v, %v", archived.Gaps, err)
		}
	}
	n := enginetest.NewNode(t, e)
	if err := e.Restore(t.Context(), n, r, engine.Point{Backup: first.ID}); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, e, n)
	server{n}.bind(t).connect(t).want(t, `SELECT count(*) FROM logged`, "4")
}

// TestPrimaryAgain: a node that takes over a second time goes on with what the other one has archived meanwhile, not with
// what it had archived itself. There is no gap between the two.
func TestPrimaryAgain(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	e, r := postgres.Engine{}, enginetest.NewRepository(t)
	p := enginetest.NewPair(t, e, "")
	first, err := e.Backup(t.Context(), p.Primary(), r, false)
	if err != nil {
		t.Fatal(err)
	}
	const terms = 4
	for term := range terms {
		p.Protect(t)
		s := server{p.Primary()}
		if term%2 == 1 { // before anything else is archived
			if _, err := e.Backup(t.Context(), p.Primary(), r, false); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			s.bind(t).connect(t).do(t, `CREATE TABLE IF NOT EXISTS logged (n int)`, `INSERT INTO logged VALUES (1)`)
			s.admin(t).do(t, `SELECT pg_switch_wal()`)
		}
		for moment, until := time.Now(), (time.Time{}); until.Before(moment); time.Sleep(100 * time.Millisecond) {
			a, err := e.Archive(t.Context(), p.Primary(), r, 0, time.Time{})
			if until = a.Until; err != nil || len(a.Gaps) > 0 {
				t.Fatalf("archived with %v, %v", a.Gaps, err)
			}
		}
		p.KillPrimary(t)
		p.FailOver(t)
		p.Rejoin(t)
	}
	n := enginetest.NewNode(t, e)
	if err := e.Restore(t.Context(), n, r, engine.Point{Backup: first.ID}); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, e, n)
	server{n}.bind(t).connect(t).want(t, `SELECT count(*) FROM logged`, strconv.Itoa(3*terms))
}

// stopArchiver stops the process of a node that hands over what it has logged.
func stopArchiver(t *testing.T, n engine.Node) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		title, _ := os.ReadFile(path) // it may have ended
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		if strings.Contains(string(title), ": archiver") && process.WorksIn(pid, n.DataDir) {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the node has no archiver")
}

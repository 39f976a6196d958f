package keeper_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestReturnIsUndone has an instance return to an earlier second while an app writes, and kills the keeper while the
// backup of now is taken. That backup is there in the end, and a copy of the second in which the app was told of its last
// commit holds all of them.
func TestReturnIsUndone(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	eachArchived(t, func(t *testing.T, _ product, m *moments) {
		stop := m.start()
		m.write()
		asked := m.goBack(time.Now().Add(time.Second).Truncate(time.Second))
		m.killKeeper()
		if err := reach(t.Context(), m.b, m.spec); err != nil {
			t.Fatal(err)
		}
		stop()
		last := engine.WholeSecond(m.noted.last())
		kept := mustAwaitBackups(t, m.b, m.spec.Instance, atLeast(2))
		ofNow := slices.ContainsFunc(kept.List, func(b backstay.Backup) bool {
			return b.Began.After(asked.Add(-time.Second)) && b.Began.Before(last)
		})
		if !ofNow {
			t.Errorf("asked at %s, and told of the last commit at %s; the backups are %+v", asked, last, kept.List)
		}
		m.noted.compare(t, m.copied(last, false), last, last)
	})
}

// TestLeftHistoryIsRestored has an instance return to an earlier second, and restores a second between that one and the
// return, for which only a backup of before both is there: what was committed by then is in it, though it is not in what
// the instance goes on with. Where no backup of what it goes on with is whole, that begins with one of before too, and
// holds nothing that was left.
func TestLeftHistoryIsRestored(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	eachArchived(t, func(t *testing.T, p product, m *moments) {
		stop := m.start()
		m.write()
		back := time.Now().Add(time.Second).Truncate(time.Second)
		left := back.Add(2 * time.Second)
		time.Sleep(time.Until(left.Add(time.Second)))
		m.goBack(back)
		if err := reach(t.Context(), m.b, m.spec); err != nil {
			t.Fatal(err)
		}
		stop()
		returned := time.Now()
		m.backUp() // so that the archive has what it goes on with
		m.noted.compare(t, m.copied(left, false), left, left)
		m.noted.compare(t, m.copied(back, false), back, back)

		kept := mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool { return !k.Running })
		for _, b := range kept.List {
			if b.Ended.After(returned) {
				flipBit(t, largestOf(t, filepath.Join(m.c.Repository.Dir, string(m.spec.Instance)), b.ID))
			}
		}
		later := backend.Origin{Instance: m.spec.Instance, Key: m.spec.Backup.Key, At: engine.WholeSecond(m.last().Ended)}
		if p.engine != "postgres" { // there is a gap between the log that was left and the next backup
			m.refused(later, "cannot be restored|can be restored")
			return
		}
		m.noted.compare(t, m.copied(later.At, false), back, back)
	})
}

// TestCommitsBehindAReturnAreRestored has an app write as soon as the instance has returned to an earlier second. A copy
// of any second around the return holds what the instance served in it, or is refused where there is a gap: the backup
// that is taken at once behind a return is not ready yet.
func TestCommitsBehindAReturnAreRestored(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	eachArchived(t, func(t *testing.T, _ product, m *moments) {
		stop := m.start()
		m.write()
		back := time.Now().Add(time.Second).Truncate(time.Second)
		m.goBack(back)
		if err := reach(t.Context(), m.b, m.spec); err != nil {
			t.Fatal(err)
		}
		stop()
		taken := len(mustAwaitBackups(t, m.b, m.spec.Instance, atLeast(2)).List)
		left, ofLeft := engine.WholeSecond(m.noted.last()), m.noted.goBack(back)
		m.access = mustCredentials(t, m.b, m.spec.Instance)
		began := time.Now()
		stop = m.start()
		ended := mustAwaitBackups(t, m.b, m.spec.Instance, atLeast(taken+1)).List[taken].Ended
		end := engine.WholeSecond(ended).Add(time.Second)
		time.Sleep(time.Until(end.Add(50 * time.Millisecond)))
		stop()
		first := engine.WholeSecond(m.noted.next(began))
		if !left.Before(first) {
			t.Errorf("the second until %s has commits of before and of behind the return", left.Format(clock))
		}
		mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool { return !k.Latest.Before(end) })
		ofLeft.compare(t, m.copied(left, false), left, left)
		for _, moment := range []time.Time{first, first.Add(time.Second), end.Add(-2 * time.Second), end} {
			if !moment.Before(first) && !moment.After(end) { // a backup may be ready within a second
				m.restoredOrInGap(moment)
			}
		}
	})
}

// restoredOrInGap restores a second, unless it lies in a gap that is told: then it is refused.
func (m *moments) restoredOrInGap(moment time.Time) {
	m.Helper()
	kept, err := m.b.Backups(m.Context(), m.spec.Instance)
	if err != nil {
		m.Fatal(err)
	}
	for _, g := range backup.Gaps(kept) {
		if m.p.engine != "postgres" && moment.After(g.From) && moment.Before(g.Until) {
			m.refused(backend.Origin{Instance: m.spec.Instance, Key: m.spec.Backup.Key, At: moment}, "in a gap")
			return
		}
	}
	m.noted.compare(m.T, m.copied(moment, false), moment, moment)
}

// eachArchived tries something with an instance of each product that has an archive, and of which there is a backup.
func eachArchived(t *testing.T, try func(*testing.T, product, *moments)) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes up to half a minute")
	}
	for _, p := range kinds() {
		if p.engine == "redis" {
			continue // which has no archive
		}
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := everything(t)
			try(t, p, newMoments(t, p, c, backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}))
		})
	}
}

// goBack asks for a return to a moment once that is past, and returns as soon as the backup of now is being taken.
func (m *moments) goBack(moment time.Time) (asked time.Time) {
	m.Helper()
	time.Sleep(time.Until(moment.Add(50 * time.Millisecond)))
	m.write()
	asked = time.Now()
	m.spec.Generation, m.spec.Origin = m.spec.Generation+1, &backend.Origin{
		Instance: m.spec.Instance, Key: m.spec.Backup.Key, At: moment, Return: 1,
	}
	if err := m.b.Apply(m.Context(), m.spec); err != nil {
		m.Fatal(err)
	}
	untilWithin(m.T, longestWay, m.b, m.spec.Instance, func(s backend.Status) bool {
		return strings.HasPrefix(s.Message, "A backup of now is taken")
	})
	return asked
}

// TestChangeInterruptsABackup: what a restart of the engine breaks off, for a change that was wished for, is taken again,
// and nobody is told of trouble, nor that it was taken before it was.
func TestChangeInterruptsABackup(t *testing.T) {
	t.Parallel()
	c := everything(t)
	c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
	p := products[0] // PostgreSQL, whose backup takes a while
	b, _ := keepertest.Run(t, only(p, c))
	spec := specOf(t, p)
	spec.Backup = backedUp(t).Backup
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return k.Running || len(k.List) > 0 })
	interrupt := func() {
		spec.Generation, spec.Restarts = spec.Generation+1, spec.Restarts+1
		mustReach(t, b, spec)
	}
	for range 3 {
		interrupt()
	}
	untroubled := func(k backend.Backups) bool {
		if k.Trouble() != "" {
			t.Fatalf("the trouble is told: %s", k.Trouble())
		}
		return len(k.List) > 0
	}
	first := len(mustAwaitBackups(t, b, spec.Instance, untroubled).List)
	spec.Generation, spec.Backups = spec.Generation+1, 1
	mustReach(t, b, spec)
	mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return k.Running || k.Asked == 1 })
	interrupt()
	asked := mustAwaitBackups(t, b, spec.Instance, func(k backend.Backups) bool { return untroubled(k) && k.Asked == 1 })
	if len(asked.List) <= first {
		t.Errorf("who asked for a backup is answered, and there is none: %+v", asked)
	}
}

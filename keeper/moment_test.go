package keeper_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

var rounds = flag.Int("rounds", 1, "how often tests of backups go through what befalls an instance")

// TestEveryCommitIsRestored notes each commit and its time while an instance is backed up, killed, kept by keepers that
// are killed, and restarted, in an order of chance. Copies of random seconds hold every commit up to that second, and none
// after it; of an engine without an archive, those up to the last backup before.
func TestEveryCommitIsRestored(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := everything(t)
			m := newMoments(t, p, c, backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")})
			for range *rounds {
				last := m.befall()
				m.restore(last, m.random(last))
			}
		})
	}
}

// TestEveryCommitIsRestoredAfterAFullDisk has the disk of the data full in the middle, and the engine killed on it.
func TestEveryCommitIsRestoredAfterAFullDisk(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a keeper a small disk")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := only(p, everything(t))
			onSmallDisk(t, c)
			m := newMoments(t, p, c, backstay.Repository{Dir: testkit.Dir(t)})
			stop := m.start()
			m.write()
			filler, full := filepath.Join(c.DataDir, "filler"), time.Now()
			fill(t, filler)
			time.Sleep(time.Duration(m.chance.IntN(int(2 * time.Second)))) // whatever the app and the engine make of it
			if admin, err := m.b.Admin(t.Context(), m.spec.Instance); err == nil {
				if err := syscall.Kill(admin.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Fatal(err)
				}
			}
			mustRemove(t, filler)
			if p.engine == "redis" { // what it could not write since then it had in memory only
				m.noted.doubt(full.Add(-redisSyncs), time.Now())
			}
			m.killKeeper() // who begins anew tries at once what has failed
			m.write()
			m.backUp()
			m.write()
			last := time.Now().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(last.Add(50 * time.Millisecond)))
			stop()
			mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool { return k.Trouble() == "" })
			m.restore(last)
		})
	}
}

// moments is an instance, what was committed to it, and what befalls it.
type moments struct {
	*testing.T
	p      product
	c      keeper.Config
	chance *rand.Rand
	b      *local.Backend
	kill   func() // its keeper
	spec   backend.Spec
	noted  journal
	access backstay.Credentials
}

// newMoments makes an instance that has a backup, with a keeper of its own.
func newMoments(t *testing.T, p product, c keeper.Config, r backstay.Repository) *moments {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &moments{T: t, p: p, chance: rand.New(rand.NewPCG(seed, 0)), c: only(p, c)}
	m.c.Repository = r
	m.b, m.kill, _ = keepertest.Start(t, m.c, "")
	m.spec = specOf(t, p)
	m.spec.Backup = backedUp(t).Backup
	mustReach(t, m.b, m.spec)
	m.access = mustCredentials(t, m.b, m.spec.Instance)
	m.note()
	mustAwaitBackups(t, m.b, m.spec.Instance, atLeast(1))
	return m
}

// note notes one commit.
func (m *moments) note() {
	m.Helper()
	w, err := m.p.open(m.Context(), m.access)
	if err != nil {
		m.Fatal(err)
	}
	defer w.close()
	n := m.noted.begin()
	if err := w.(noter).note(m.Context(), n); err != nil {
		m.Fatal(err)
	}
	if n > 0 {
		m.noted.tell(n)
	}
}

// befall does everything once to the instance while an app writes, and returns the second in which it was backed up last.
func (m *moments) befall() (last time.Time) {
	m.Helper()
	defer m.start()()
	events := []func(){m.backUp, m.killEngine, m.killKeeper, m.killInBackup, m.restart}
	m.chance.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	for _, event := range append(events, m.backUp) {
		m.write()
		event()
	}
	last = m.last().Ended.Add(time.Second - 1).Truncate(time.Second)
	time.Sleep(time.Until(last.Add(50 * time.Millisecond)))
	return last
}

// start starts an app that writes until stop is called.
func (m *moments) start() (stop func()) {
	ctx, cancel := context.WithCancel(m.Context())
	var app sync.WaitGroup
	app.Go(func() { m.noted.keep(ctx, m.p, m.access) })
	return func() {
		cancel()
		app.Wait()
	}
}

// write returns when something was written, some time later.
func (m *moments) write() {
	m.Helper()
	before := m.noted.length()
	for deadline := time.Now().Add(longestWay); m.noted.length() < before+20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			m.Fatal("the app cannot write")
		}
	}
	time.Sleep(time.Duration(m.chance.IntN(int(time.Second))))
}

func (m *moments) ask() {
	m.Helper()
	m.spec.Generation, m.spec.Backups = m.spec.Generation+1, m.spec.Backups+1
	mustReach(m.T, m.b, m.spec)
}

func (m *moments) backUp() {
	m.Helper()
	m.ask()
	m.awaitAsked()
}

func (m *moments) awaitAsked() {
	m.Helper()
	mustAwaitBackups(m.T, m.b, m.spec.Instance, func(k backend.Backups) bool {
		return k.Asked == m.spec.Backups && !k.Running && k.Failed == ""
	})
}

// redisSyncs is what Redis may lose of what it has said to be written: it may wait for the disk as long before it hands
// it to the system.
const redisSyncs = 2 * time.Second

func (m *moments) killEngine() {
	m.Helper()
	pid := mustPID(m.T, m.b, m.spec.Instance)
	mustKill(m.T, pid)
	if m.p.engine == "redis" {
		m.noted.doubt(time.Now().Add(-redisSyncs), time.Now())
	}
	ctx, cancel := context.WithTimeout(m.Context(), longestWay)
	defer cancel()
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		admin, err := m.b.Admin(ctx, m.spec.Instance)
		return err != nil || admin.PID == pid, err
	})
	if err != nil {
		m.Fatal(err)
	}
}

func (m *moments) killKeeper() {
	m.kill()
	m.b, m.kill, _ = keepertest.Start(m.T, m.c, "")
}

// killInBackup kills the keeper in the middle of a backup: the next one makes it up, and nothing is left that is half.
func (m *moments) killInBackup() {
	m.Helper()
	m.ask()
	mustAwaitBackups(m.T, m.b, m.spec.Instance, func(k backend.Backups) bool {
		return k.Running || k.Asked == m.spec.Backups
	})
	last := m.last()
	time.Sleep(time.Duration(m.chance.Int64N(int64(last.Ended.Sub(last.Began) + time.Millisecond))))
	m.killKeeper()
	m.awaitAsked()
	mustAwaitBackups(m.T, m.b, m.spec.Instance, func(k backend.Backups) bool { return slices.Equal(m.stored(), ids(k)) })
}

// stored are the names of the backups of which anything lies in the repository, sorted.
func (m *moments) stored() (names []string) {
	m.Helper()
	part := filepath.Join(m.c.Repository.Dir, string(m.spec.Instance))
	for _, pattern := range []string{"backup/main/*F/*", "backup/2*Z*/*", "2*.rdb"} { // of each engine
		found, err := filepath.Glob(filepath.Join(part, pattern))
		if err != nil {
			m.Fatal(err)
		}
		for _, path := range found {
			of, isFile := strings.CutSuffix(path, ".rdb")
			if !isFile {
				of = filepath.Dir(path)
			}
			names = append(names, filepath.Base(of))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ids are the names of backups, sorted: two of the same second are in no order of theirs.
func ids(kept backend.Backups) (ids []string) {
	for _, b := range kept.List {
		ids = append(ids, b.ID)
	}
	slices.Sort(ids)
	return ids
}

// last is the last backup.
func (m *moments) last() backstay.Backup {
	m.Helper()
	kept := mustAwaitBackups(m.T, m.b, m.spec.Instance, atLeast(1))
	return kept.List[len(kept.List)-1]
}

func (m *moments) restart() {
	m.Helper()
	m.spec.Generation, m.spec.Restarts = m.spec.Generation+1, m.spec.Restarts+1
	mustReach(m.T, m.b, m.spec)
}

// random is a second between the first backup and the last second.
func (m *moments) random(last time.Time) time.Time {
	m.Helper()
	kept := mustAwaitBackups(m.T, m.b, m.spec.Instance, atLeast(1))
	first := kept.List[0].Ended.Truncate(time.Second).Add(time.Second)
	return first.Add(time.Duration(m.chance.IntN(int(last.Sub(first)/time.Second)+1)) * time.Second)
}

// restore restores seconds, and compares what was noted.
func (m *moments) restore(seconds ...time.Time) {
	m.Helper()
	kept, err := m.b.Backups(m.Context(), m.spec.Instance)
	if err != nil || len(kept.Gaps) > 0 || kept.Trouble() != "" {
		m.Fatalf("the backups are %+v, %v", kept, err)
	}
	var copies sync.WaitGroup
	defer copies.Wait()
	for _, moment := range seconds {
		from, until := moment, moment
		if kept.Earliest.IsZero() {
			from, until = lastBefore(kept.List, moment)
		}
		copies.Go(func() { m.noted.compare(m.T, m.copied(moment, kept.Earliest.IsZero()), from, until) })
	}
}

// lastBefore returns when the last backup was taken that had ended by then.
func lastBefore(list []backstay.Backup, moment time.Time) (began, ended time.Time) {
	for _, b := range list {
		if !b.Ended.After(moment) {
			began, ended = b.Began, b.Ended
		}
	}
	return began, ended
}

// copied returns what a copy of that second holds.
func (m *moments) copied(moment time.Time, alone bool) []int {
	m.Helper()
	spec := specOf(m.T, m.p)
	spec.Instance = backstay.InstanceID(uuid.NewString())
	spec.Origin = &backend.Origin{Instance: m.spec.Instance, Key: m.spec.Backup.Key, At: moment, Alone: alone}
	if err := applyAndReach(m.Context(), m.b, spec); err != nil {
		m.Errorf("restore %s: %v", moment.Format(clock), err)
		return nil
	}
	numbers, err := m.read(spec.Instance)
	if err != nil {
		m.Errorf("read the copy of %s: %v", moment.Format(clock), err)
	}
	if err := end(m.Context(), m.b, spec.Instance); err != nil {
		m.Error(err)
	}
	return numbers
}

// read returns what is noted in an instance, by a user that is made for it.
func (m *moments) read(id backstay.InstanceID) ([]int, error) {
	access, err := user(m.Context(), m.b, id)
	if err != nil {
		return nil, err
	}
	w, err := m.p.open(m.Context(), access)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return w.(noter).noted(m.Context())
}

package build_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/build"
)

// machine is a place in which packages are installed, and a store that looks there with a clock of its own.
type machine struct {
	*build.Store
	root string
	now  time.Time
}

// newMachine is one of PostgreSQL, which has nothing yet.
func newMachine(t *testing.T) *machine {
	m := &machine{root: filepath.Join(testkit.Dir(t), "usr"), now: time.Now()}
	roots := []string{filepath.Join(m.root, "lib", "postgresql")}
	m.Store = newStore(t, "postgres", postgres.Engine{Roots: roots})
	m.Now = func() time.Time { return m.now }
	return m
}

func newStore(t *testing.T, name string, e engine.Engine) *build.Store {
	return &build.Store{
		Engines: map[string]engine.Engine{name: e}, Dir: testkit.Dir(t), Now: time.Now,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// install replaces what is installed by another build.
func (m *machine) install(t *testing.T, from string) {
	t.Helper()
	testkit.Install(t, from, m.root)
	m.now = time.Now().Add(10 * time.Second) // it has settled
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustFind returns the build of PostgreSQL 15 that is found.
func (m *machine) mustFind(t *testing.T, full string) engine.Installation {
	t.Helper()
	i, err := m.Find(t.Context(), "postgres", "15", full)
	must(t, err)
	return i
}

// wantInstalled checks what the machine has now.
func (m *machine) wantInstalled(t *testing.T, full ...string) {
	t.Helper()
	found, err := m.Installed(t.Context(), "postgres")
	must(t, err)
	var got []string
	for _, i := range found {
		got = append(got, i.FullVersion)
	}
	if !slices.Equal(got, full) {
		t.Errorf("installed are %q, want %q", got, full)
	}
}

// fullVersion of a directory of scripts/other-builds.
func fullVersion(root string) string {
	_, full, _ := strings.Cut(filepath.Base(root), "-")
	return full
}

// TestABuildOutlivesItsPackage has a newer build take the place of an older one.
func TestABuildOutlivesItsPackage(t *testing.T) {
	t.Parallel()
	roots := testkit.Builds(t, "postgres")
	older, newer := roots[0], roots[len(roots)-1]
	m := newMachine(t)
	m.wantInstalled(t)
	m.install(t, older)
	m.wantInstalled(t, fullVersion(older))
	before := m.mustFind(t, fullVersion(older))
	m.install(t, newer)
	m.wantInstalled(t, fullVersion(newer))

	kept := m.mustFind(t, fullVersion(older))
	if kept != before {
		t.Errorf("%s is found as %+v, and was %+v", fullVersion(older), kept, before)
	}
	if full := report(t, postgres.Engine{}, kept); full != fullVersion(older) {
		t.Errorf("it reports %s, want %s", full, fullVersion(older))
	}
	if newest := m.mustFind(t, ""); newest.FullVersion != fullVersion(newer) {
		t.Errorf("the newest is %+v", newest)
	}
	using := []build.Use{{Engine: "postgres", Version: "15", Build: fullVersion(older)}}
	must(t, m.Sweep(t.Context(), using))
	if kept := m.mustFind(t, fullVersion(older)); kept != before {
		t.Errorf("what an instance wants was swept away: %+v is found", kept)
	}
	must(t, m.Sweep(t.Context(), nil))
	if left := build.Kept(m.Dir, "postgres"); len(left) != 1 || left[0].FullVersion != fullVersion(newer) {
		t.Errorf("what nobody uses is kept: %+v", left)
	}
	if stands := m.mustFind(t, fullVersion(older)); stands.FullVersion != fullVersion(newer) {
		t.Errorf("%+v stands in for what is gone, want the newer build", stands)
	}
	m.install(t, older)
	_, err := m.Find(t.Context(), "postgres", "15", fullVersion(newer)+".1")
	if backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("an older build stands in for a newer one: %v", err)
	}
}

func report(t *testing.T, k engine.Keepable, i engine.Installation) string {
	t.Helper()
	full, err := k.Report(t.Context(), i)
	must(t, err)
	return full
}

// TestHalfAPackageIsNotTaken looks while dpkg works, and again when it has ended.
func TestHalfAPackageIsNotTaken(t *testing.T) {
	t.Parallel()
	roots := testkit.Builds(t, "postgres")
	older, newer := fullVersion(roots[0]), fullVersion(roots[len(roots)-1])
	m := newMachine(t)
	m.install(t, roots[0])
	m.wantInstalled(t, older)
	m.install(t, roots[len(roots)-1])
	unpacked := filepath.Join(m.root, "lib", "postgresql", "15", "lib", "pgcrypto.so.dpkg-new")
	must(t, os.WriteFile(unpacked, nil, 0o644))
	m.wantInstalled(t, older)
	again := *m // another keeper that has never seen it whole
	again.Store = &build.Store{Engines: m.Engines, Dir: m.Dir, Now: m.Now, Log: m.Log}
	again.wantInstalled(t, older)
	must(t, os.Remove(unpacked))
	m.now = time.Now() // a moment ago
	m.wantInstalled(t, older)
	m.now = m.now.Add(5 * time.Second)
	m.wantInstalled(t, newer)

	must(t, os.RemoveAll(filepath.Join(m.root, "lib", "postgresql", "15", "bin")))
	m.now = m.now.Add(5 * time.Second)
	m.wantInstalled(t)
	must(t, m.Sweep(t.Context(), []build.Use{{Engine: "postgres", Version: "15"}}))
	for _, full := range []string{newer, ""} {
		if kept := m.mustFind(t, full); kept.FullVersion != newer {
			t.Errorf("a package that was removed takes its build along: %+v", kept)
		}
	}
}

// TestOnlyChangesAreLookedAt counts how often programs are run.
func TestOnlyChangesAreLookedAt(t *testing.T) {
	t.Parallel()
	counted := &counting{Engine: redis.Engine{}}
	s := newStore(t, "redis", counted)
	now := time.Now()
	s.Now = func() time.Time { return now }
	for range 3 {
		if found, err := s.Installed(t.Context(), "redis"); err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
	}
	if counted.looks != 1 {
		t.Errorf("programs were run %d times, want once", counted.looks)
	}
	now = now.Add(2 * time.Minute)
	if _, err := s.Installed(t.Context(), "redis"); err != nil || counted.looks != 2 {
		t.Errorf("after a while they were run %d times in all, want 2 (%v)", counted.looks, err)
	}
}

type counting struct {
	redis.Engine
	looks int
}

func (c *counting) Installations(ctx context.Context) ([]engine.Installation, error) {
	c.looks++
	return c.Engine.Installations(ctx)
}

// TestEveryEngineIsKept runs a copy of each engine that the machine has.
func TestEveryEngineIsKept(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]engine.Keepable{
		"postgres": postgres.Engine{}, "mysql": mysql.Engine{}, "redis": redis.Engine{},
	} {
		s := newStore(t, name, e.(engine.Engine))
		begun := time.Now()
		found, err := s.Newest(t.Context(), name)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
			continue
		}
		t.Logf("%s was kept in %s", name, time.Since(begun))
		if copied := build.CopyOf(s.Dir, name, found[0]); copied == "" || report(t, e, found[0]) != found[0].FullVersion {
			t.Errorf("%s runs from %s, want a copy in %s", name, found[0].Dir, s.Dir)
		}
		if running, ok := s.Running(name, filepath.Join(found[0].Dir, "program")); !ok || running != found[0] {
			t.Errorf("a program of it is taken for %+v", running)
		}
	}
}

// TestWhatCannotBeKeptRunsInPlace has no room for copies.
func TestWhatCannotBeKeptRunsInPlace(t *testing.T) {
	t.Parallel()
	s := newStore(t, "redis", redis.Engine{})
	s.Dir = "/proc/none" // where nothing can be made
	found, err := s.Newest(t.Context(), "redis")
	if err != nil || len(found) != 1 || found[0].Dir != "/usr/bin" {
		t.Errorf("found %+v, %v", found, err)
	}
}

// TestADamagedCopyIsMadeAnew: half of one is never run, whatever has left it.
func TestADamagedCopyIsMadeAnew(t *testing.T) {
	t.Parallel()
	s := newStore(t, "redis", redis.Engine{})
	found, err := s.Newest(t.Context(), "redis")
	must(t, err)
	must(t, os.Remove(filepath.Join(found[0].Dir, "redis-server")))
	must(t, os.Mkdir(filepath.Join(s.Dir, "redis", "7.0.1-half.part"), 0o700))
	next := &build.Store{Engines: s.Engines, Dir: s.Dir, Now: time.Now, Log: s.Log}
	again, err := next.Newest(t.Context(), "redis")
	if err != nil || !slices.Equal(again, found) {
		t.Errorf("found %+v, %v; want what there was", again, err)
	}
	must(t, next.Sweep(t.Context(), nil))
	entries, err := os.ReadDir(filepath.Join(s.Dir, "redis"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v are left, want the copy alone (%v)", entries, err)
	}
	if _, err := os.Stat(filepath.Join(found[0].Dir, "redis-server")); errors.Is(err, os.ErrNotExist) {
		t.Error("the copy has no server")
	}
}

// tired is Redis on a machine that is too busy to run its programs when it is asked to.
type tired struct {
	redis.Engine
	busy *bool
}

func (e tired) Report(ctx context.Context, i engine.Installation) (string, error) {
	if *e.busy {
		return "", context.DeadlineExceeded
	}
	return e.Engine.Report(ctx, i)
}

// TestACopyOutlivesATriedReplacement: what nodes run from is not touched because it did not answer in time.
func TestACopyOutlivesATriedReplacement(t *testing.T) {
	t.Parallel()
	var busy bool
	s := newStore(t, "redis", tired{busy: &busy})
	found, err := s.Newest(t.Context(), "redis")
	must(t, err)
	if build.CopyOf(s.Dir, "redis", found[0]) == "" {
		t.Fatalf("it runs from %s, want a copy", found[0].Dir)
	}
	busy = true
	next := &build.Store{Engines: s.Engines, Dir: s.Dir, Now: time.Now, Log: s.Log}
	if _, err := next.Newest(t.Context(), "redis"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(found[0].Dir, "redis-server")); err != nil {
		t.Errorf("the copy that nodes run from: %v", err)
	}
	busy = false
	next = &build.Store{Engines: s.Engines, Dir: s.Dir, Now: time.Now, Log: s.Log}
	if again, err := next.Newest(t.Context(), "redis"); err != nil || !slices.Equal(again, found) {
		t.Errorf("found %+v, %v; want the copy", again, err)
	}
}

package keeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// upgradeLimit is how long an upgrade may take on a machine that is busy.
const upgradeLimit = 2 * time.Minute

// twoVersions is the configuration of a keeper that has PostgreSQL 15 and 17.
func twoVersions(t *testing.T) keeper.Config {
	t.Helper()
	newer := filepath.Join(testkit.Other(t, "postgres-17"), "usr/lib/postgresql")
	c := keepertest.Config(t, 1)
	c.Engines = map[string]engine.Engine{"postgres": postgres.Engine{Roots: []string{"/usr/lib/postgresql", newer}}}
	return c
}

// TestUpgradeAndReturn takes an instance to another version, back, forth again, and through a week.
func TestUpgradeAndReturn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("data of two versions is copied to and fro")
	}
	c := twoVersions(t)
	var ahead atomic.Int64
	c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	mustUser(t, b, spec.Instance)
	credentials := mustCredentials(t, b, spec.Instance)
	do(t, credentials, "CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n")
	left, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}

	var said []string
	next := func(version string, back bool) backend.Status {
		spec.Generation, spec.Version, spec.RollBack = spec.Generation+1, version, back
		if err := b.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		said = nil
		return untilWithin(t, upgradeLimit, b, spec.Instance, func(s backend.Status) bool {
			said = append(said, s.Message)
			return s.Phase == backend.Running && (s.Generation == spec.Generation || s.Obstacle.Final)
		})
	}
	if s := next("17", false); !strings.HasPrefix(s.Build, "17.") || s.Obstacle.Sentence != "" {
		t.Errorf("after the upgrade: %+v", s)
	}
	for _, want := range []string{"Checking whether the data can be upgraded from 15 to 17.",
		"Upgrading from 15 to 17: the data is copied.", "Upgrading from 15 to 17: tables and users are brought over."} {
		if !slices.Contains(said, want) {
			t.Errorf("it says %q, want %q among that", said, want)
		}
	}
	wantValue(t, credentials, "SELECT current_setting('server_version_num')::int / 10000 || ' ' || count(*) FROM kept", "17 1000")
	do(t, credentials, "CREATE TABLE since AS SELECT 1")
	if err := b.DropUser(t.Context(), spec.Instance, "u2"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(limit); value(t, credentials, "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'kept'") != "true"; {
		if time.Now().After(deadline) {
			t.Fatal("the planner of queries knows nothing of the data")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if s := next("15", true); !strings.HasPrefix(s.Build, "15.") {
		t.Errorf("after the return: %+v", s)
	}
	wantValue(t, credentials, "SELECT count(*) || ' ' || (to_regclass('since') IS NULL) FROM kept", "1000 true")
	if err := connect(t.Context(), left); err == nil {
		t.Error("a user that was dropped after the upgrade came back with the data from before")
	}
	next("17", true)
	wantValue(t, credentials, "SELECT count(*) FROM since", "1")
	if names := dataOf(t, c, spec); len(names) != 2 {
		t.Errorf("there is data in %v", names)
	}
	if s := next("15", false); s.Obstacle.Sentence == "" || s.Generation != spec.Generation-1 {
		t.Errorf("an older version that nobody returns to: %+v", s)
	}
	wantValue(t, credentials, "SELECT count(*) FROM since", "1")
	next("17", false)

	ahead.Store(int64(8 * 24 * time.Hour))
	for deadline := time.Now().Add(limit); len(dataOf(t, c, spec)) != 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a week there is data in %v", dataOf(t, c, spec))
		}
	}
	const want = "There is no data of version 15 any more to return to."
	if s := next("15", true); s.Obstacle.Sentence != want {
		t.Errorf("a return to what is gone: %+v, want %q", s, want)
	}
	wantValue(t, credentials, "SELECT count(*) FROM since", "1")
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	checkNothingLeft(t, c)
}

// TestUpgradeThatIsRefused: those who are connected notice nothing, and are told the reason.
func TestUpgradeThatIsRefused(t *testing.T) {
	t.Parallel()
	c := twoVersions(t)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	mustExec(t, session, "CREATE TABLE odd (name regproc)")
	spec.Generation, spec.Version = 2, "17"
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := untilWithin(t, upgradeLimit, b, spec.Instance, func(s backend.Status) bool { return s.Obstacle.Final })
	if !strings.Contains(s.Obstacle.Sentence, "reg* data types") || s.Phase != backend.Running || s.Generation != 1 {
		t.Errorf("got %+v", s)
	}
	mustExec(t, session, "SELECT 1")
	if names := dataOf(t, c, spec); len(names) != 1 {
		t.Errorf("there is data in %v", names)
	}
}

// TestUpgradeWhoseProgramIsKilled is begun again.
func TestUpgradeWhoseProgramIsKilled(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("data is upgraded twice")
	}
	c := twoVersions(t)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	credentials := mustCredentials(t, b, spec.Instance)
	do(t, credentials, "CREATE TABLE kept AS SELECT 1")
	spec.Generation, spec.Version = 2, "17"
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	untilWithin(t, upgradeLimit, b, spec.Instance, func(s backend.Status) bool {
		return strings.HasSuffix(s.Message, "tables and users are brought over.")
	})
	killProgram(t, "pg_upgrade", filepath.Join(c.DataDir, "instances", string(spec.Instance)))
	untilWithin(t, upgradeLimit, b, spec.Instance, func(s backend.Status) bool {
		return s.Phase == backend.Running && s.Generation == 2
	})
	wantValue(t, credentials, "SELECT current_setting('server_version_num')::int / 10000 || ' ' || count(*) FROM kept", "17 1")
}

// killProgram kills a program that works in a directory, as soon as there is one.
func killProgram(t *testing.T, name, dir string) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		names, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, path := range names {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if text, err := os.ReadFile(path); err == nil && string(text) == name+"\n" && process.WorksIn(pid, dir) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
					return
				}
			}
		}
	}
	t.Fatalf("there is no %s", name)
}

// TestKeeperDiesBehindEveryStepOfAnUpgrade leads instances through upgrades and returns, with keepers of which each dies
// behind another step. The last steps are for a time when nobody can return any more.
func TestKeeperDiesBehindEveryStepOfAnUpgrade(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	c := twoVersions(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	lead := func(enough <-chan struct{}) error { return leadThroughVersions(ctx, t, c, enough) }
	dieBehindEach(t, c, keeper.UpgradeStepNames(), lead, func(c *keeper.Config, step string) {
		if strings.HasPrefix(step, "keeper.data-") {
			c.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
		}
	})
}

func leadThroughVersions(ctx context.Context, t *testing.T, c keeper.Config, enough <-chan struct{}) error {
	b := local.New(keepertest.Socket(c))
	for {
		spec := newSpec(t)
		if err := applyAndReach(ctx, b, spec); err != nil {
			return err
		}
		credentials, err := user(ctx, b, spec.Instance)
		if err != nil {
			return err
		}
		for _, version := range []string{"17", "15", "17"} {
			spec.Generation, spec.Version, spec.RollBack = spec.Generation+1, version, version == "15"
			if err := b.Apply(ctx, spec); err != nil {
				return err
			}
			err := follow(ctx, b, spec.Instance, func(s backend.Status) bool {
				return s.Phase == backend.Running && (s.Generation == spec.Generation || s.Obstacle.Final && spec.RollBack)
			})
			if err == nil {
				err = connect(ctx, credentials)
			}
			if err != nil {
				return fmt.Errorf("version %s: %w", version, err)
			}
		}
		select {
		case <-enough:
			return end(ctx, b, spec.Instance)
		case <-time.After(3 * time.Second): // in which data that is not kept any more goes
		}
		if err := end(ctx, b, spec.Instance); err != nil {
			return err
		}
	}
}

// dataOf names the data directories of an instance.
func dataOf(t *testing.T, c keeper.Config, spec backend.Spec) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.DataDir, "instances", string(spec.Instance), "data*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// do runs a statement on a connection of its own, as an app does after a restart.
func do(t *testing.T, c backstay.Credentials, sql string) {
	t.Helper()
	withConnection(t, c, func(conn *pgx.Conn) { mustExec(t, conn, sql) })
}

func value(t *testing.T, c backstay.Credentials, sql string) (got string) {
	t.Helper()
	withConnection(t, c, func(conn *pgx.Conn) {
		if err := conn.QueryRow(t.Context(), "SELECT ("+sql+")::text").Scan(&got); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	})
	return got
}

func wantValue(t *testing.T, c backstay.Credentials, sql, want string) {
	t.Helper()
	if got := value(t, c, sql); got != want {
		t.Errorf("%s is %q, want %q", sql, got, want)
	}
}

func withConnection(t *testing.T, c backstay.Credentials, use func(*pgx.Conn)) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c["uri"].(string)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	use(conn)
}

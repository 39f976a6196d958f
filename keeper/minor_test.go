package keeper_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// upgrade is a machine with PostgreSQL's older build, of which the newer one can be had.
type upgrade struct {
	keeper.Config
	older, newer string // full versions
	newerRoot    string
	usr          string
}

func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	roots := testkit.Builds(t, "postgres")
	u := &upgrade{Config: keepertest.Config(t, 6), usr: filepath.Join(testkit.Dir(t), "usr"), newerRoot: roots[len(roots)-1]}
	u.older, u.newer = fullVersion(roots[0]), fullVersion(u.newerRoot)
	u.Engines = map[string]engine.Engine{
		"postgres": postgres.Engine{Roots: []string{filepath.Join(u.usr, "lib", "postgresql")}},
	}
	// The golden directories of two builds take turns, so these are not for other tests.
	if err := os.Remove(filepath.Join(u.DataDir, "cache", "postgres")); err != nil {
		t.Fatal(err)
	}
	testkit.Install(t, roots[0], u.usr)
	return u
}

func fullVersion(root string) string {
	_, full, _ := strings.Cut(filepath.Base(root), "-")
	return full
}

// awaitInstalled returns when that build is what new instances get.
func awaitInstalled(t *testing.T, b *local.Backend, full string) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		inventory, err := b.Inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(inventory.Engines) == 1 && inventory.Engines[0].FullVersion == full:
			return
		case time.Now().After(deadline):
			t.Fatalf("installed is %+v, want %s", inventory.Engines, full)
		}
	}
}

// serves returns when the generation serves, by that build.
func serves(t *testing.T, b *local.Backend, id backstay.InstanceID, generation int64, full string) backend.Status {
	t.Helper()
	return untilWithin(t, 4*limit, b, id, func(s backend.Status) bool { // which may have to make a golden directory
		return running(s) && s.Generation == generation && s.Build == full
	})
}

// wantVersion asks the engine itself, and for the data.
func wantVersion(t *testing.T, b *local.Backend, id backstay.InstanceID, full string) {
	t.Helper()
	c, err := b.CreateUser(t.Context(), id, backend.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), c["uri"].(string)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var version string
	row := conn.QueryRow(t.Context(), `SELECT current_setting('server_version')
		FROM (SELECT count(*) FROM pg_extension WHERE extname = 'pgcrypto') extensions`)
	if err := row.Scan(&version); err != nil || !strings.HasPrefix(version, full+" ") {
		t.Errorf("it is served by %q, want %s (%v)", version, full, err)
	}
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS kept (n int)", "CREATE EXTENSION IF NOT EXISTS pgcrypto", "SELECT digest('x', 'sha256')",
		"INSERT INTO kept VALUES (1)",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestANodeKeepsItsBuild through everything that starts it again, until its Spec names another.
func TestANodeKeepsItsBuild(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("an engine is started with three builds")
	}
	u := newUpgrade(t)
	b, kill, _ := keepertest.Start(t, u.Config, "")
	spec := newSpec(t)
	spec.Build = u.older
	mustApplySpec(t, b, spec)
	serves(t, b, spec.Instance, 1, u.older)
	wantVersion(t, b, spec.Instance, u.older)
	testkit.Install(t, u.newerRoot, u.usr)
	awaitInstalled(t, b, u.newer)

	again := func() {
		t.Helper()
		serves(t, b, spec.Instance, 1, u.older)
		wantVersion(t, b, spec.Instance, u.older)
	}
	before := mustPID(t, b, spec.Instance)
	mustKill(t, before) // the engine
	until(t, b, spec.Instance, func(backend.Status) bool {
		admin, err := b.Admin(t.Context(), spec.Instance)
		return err == nil && admin.PID != before
	})
	again()
	kill() // the keeper
	b, kill, _ = keepertest.Start(t, u.Config, "")
	again()
	kill() // both, as when the machine goes down
	stopEngines(t, u.Config)
	b, _, _ = keepertest.Start(t, u.Config, "")
	again()

	spec.Generation, spec.Build = 2, u.newer
	mustApplySpec(t, b, spec)
	serves(t, b, spec.Instance, 2, u.newer)
	wantVersion(t, b, spec.Instance, u.newer)
	for deadline := time.Now().Add(4 * limit); ; time.Sleep(100 * time.Millisecond) {
		kept := copies(t, u.Config)
		if len(kept) == 1 && strings.HasPrefix(kept[0], u.newer+"-") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the builds %v are kept, want %s alone", kept, u.newer)
		}
	}
}

func mustApplySpec(t *testing.T, b *local.Backend, spec backend.Spec) {
	t.Helper()
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

// copies lists the builds of PostgreSQL that are kept.
func copies(t *testing.T, c keeper.Config) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.DataDir, "builds", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestABuildThatIsGone is stood in for by the newer one, and told.
func TestABuildThatIsGone(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	b, stop := keepertest.Run(t, u.Config)
	spec := newSpec(t)
	spec.Build = u.older
	mustApplySpec(t, b, spec)
	serves(t, b, spec.Instance, 1, u.older)
	stop()
	stopEngines(t, u.Config)
	if err := os.RemoveAll(filepath.Join(u.DataDir, "builds")); err != nil {
		t.Fatal(err)
	}
	testkit.Install(t, u.newerRoot, u.usr)
	b, _ = keepertest.Run(t, u.Config)
	s := serves(t, b, spec.Instance, 1, u.newer)
	if want := "PostgreSQL " + u.older + " is not on this machine any more"; !strings.Contains(s.Message, want) {
		t.Errorf("its message is %q, want it to say %q", s.Message, want)
	}
	wantVersion(t, b, spec.Instance, u.newer)
	pid := mustPID(t, b, spec.Instance)
	spec.Generation, spec.Build = 2, u.newer // as the control plane says once it has seen that
	mustApplySpec(t, b, spec)
	if s := serves(t, b, spec.Instance, 2, u.newer); strings.Contains(s.Message, "any more") {
		t.Errorf("its message is %q still", s.Message)
	}
	if now := mustPID(t, b, spec.Instance); now != pid {
		t.Error("it was restarted for the build that it has")
	}
}

// TestANewerBuildThatDoesNotStart leaves the older one serving.
func TestANewerBuildThatDoesNotStart(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	b, _ := keepertest.Run(t, u.Config)
	spec := newSpec(t) // without a build, as those of earlier versions
	mustApplySpec(t, b, spec)
	serves(t, b, spec.Instance, 1, u.older)
	testkit.Install(t, u.newerRoot, u.usr)
	awaitInstalled(t, b, u.newer)
	breakServer(t, filepath.Join(u.DataDir, "builds", "postgres"), u.newer)
	newer := spec
	newer.Generation, newer.Build = 2, u.newer
	mustApplySpec(t, b, newer)
	s := until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Obstacle.Final })
	if s.Build != u.older || s.Generation != 1 {
		t.Errorf("it is served as %+v, want the older build", s)
	}
	wantVersion(t, b, spec.Instance, u.older)
}

// breakServer has a build's server report its version, check a configuration, and nothing else.
func breakServer(t *testing.T, dir, full string) {
	t.Helper()
	servers, err := filepath.Glob(filepath.Join(dir, full+"-*", "lib", "postgresql", "15", "bin", "postgres"))
	if err != nil || len(servers) != 1 {
		t.Fatal(servers, err)
	}
	script := "#!/bin/sh\ncase $1 in --version | -C) exec " + servers[0] + ".real \"$@\" ;; esac\nexit 1\n"
	if err := os.Rename(servers[0], servers[0]+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(servers[0], []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

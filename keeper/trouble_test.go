package keeper_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func dataDir(c keeper.Config, id backstay.InstanceID) string {
	return filepath.Join(c.DataDir, "instances", string(id), "data")
}

func failing(s backend.Status) bool { return s.Phase == backend.Failing }

func mustRename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// TestMissingDataIsNotMadeAnew takes away the data of an instance that has served, and of our own database.
func TestMissingDataIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	ours := newSpec(t)
	ours.Private, ours.TLS = true, backstay.Certificate{}
	if err := b.Apply(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	specs := []backend.Spec{mustApply(t, b), ours}
	mustExec(t, mustUser(t, b, specs[0].Instance), "CREATE TABLE precious AS SELECT 42 AS n")
	for _, spec := range specs {
		until(t, b, spec.Instance, running)
	}
	wantMissing := func(spec backend.Spec) {
		t.Helper()
		s := until(t, b, spec.Instance, failing)
		if !strings.Contains(s.Message, "instances/"+string(spec.Instance)+"/data is missing") {
			t.Errorf("the reason is %q", s.Message)
		}
		time.Sleep(100 * time.Millisecond)
		if entries, err := os.ReadDir(dataDir(c, spec.Instance)); len(entries) > 0 {
			t.Errorf("something was made: %v, %v", entries, err)
		}
	}
	for _, spec := range specs {
		pid := mustPID(t, b, spec.Instance)
		mustRename(t, dataDir(c, spec.Instance), dataDir(c, spec.Instance)+".away")
		mustKill(t, pid)
		wantMissing(spec)
	}
	stop()
	if err := os.Mkdir(dataDir(c, ours.Instance), 0o700); err != nil { // where a volume is not mounted
		t.Fatal(err)
	}
	b, _ = keepertest.Run(t, c)
	for _, spec := range specs {
		wantMissing(spec)
	}
	for _, spec := range specs {
		os.Remove(dataDir(c, spec.Instance))
		mustRename(t, dataDir(c, spec.Instance)+".away", dataDir(c, spec.Instance))
		until(t, b, spec.Instance, running)
	}
	mustExec(t, mustUser(t, b, specs[0].Instance), "SELECT n FROM precious")
}

// TestLostPartIsNotMadeAnew takes away parts of the data without which a server would begin anew, empty.
func TestLostPartIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 2)
	c.Engines["redis"], c.Engines["mysql"] = redis.Engine{}, mysql.Engine{}
	b, _ := keepertest.Run(t, c)
	for _, tc := range []struct {
		engine, version, missing string
		parts                    []string
	}{
		{"redis", "7.0", "appendonlydir/appendonly.aof.manifest", []string{"appendonlydir"}},
		{"mysql", "10.11", "ibdata1", []string{"ibdata1", "ib_logfile0"}},
	} {
		t.Run(tc.engine, func(t *testing.T) {
			t.Parallel()
			spec := newSpec(t)
			spec.Engine, spec.Version = tc.engine, tc.version
			if err := b.Apply(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			until(t, b, spec.Instance, running)
			pid := mustPID(t, b, spec.Instance)
			path := func(name string) string { return filepath.Join(dataDir(c, spec.Instance), name) }
			for _, part := range tc.parts {
				mustRename(t, path(part), path(part)+".away")
			}
			mustKill(t, pid)
			s := until(t, b, spec.Instance, failing)
			if want := "The file instances/" + string(spec.Instance) + "/data/" + tc.missing + " is missing."; !strings.Contains(s.Message, want) {
				t.Errorf("the reason is %q", s.Message)
			}
			for _, part := range tc.parts {
				mustRename(t, path(part)+".away", path(part))
			}
			until(t, b, spec.Instance, running)
		})
	}
}

// TestUserIsDroppedBeforeItServesAgain: what could not be undone in a broken engine is, once that is mended.
func TestUserIsDroppedBeforeItServesAgain(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	var uris []string
	for _, name := range []string{"goes", "stays"} {
		u := backend.User{Name: name, Password: "correcthorsebatterystaple"}
		credentials, err := b.CreateUser(t.Context(), spec.Instance, u)
		if err != nil {
			t.Fatal(err)
		}
		uris = append(uris, credentials["uri"].(string)+"?sslmode=require")
	}
	control := filepath.Join(dataDir(c, spec.Instance), "global", "pg_control")
	sound, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	pid := mustPID(t, b, spec.Instance)
	if err := os.WriteFile(control, make([]byte, len(sound)), 0o600); err != nil {
		t.Fatal(err)
	}
	mustKill(t, pid)
	until(t, b, spec.Instance, failing)
	for range 2 {
		if err := b.DropUser(t.Context(), spec.Instance, "goes"); err != nil {
			t.Fatalf("DropUser: %v", err)
		}
	}
	stop()
	if err := os.WriteFile(control, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	if conn, err := pgx.Connect(t.Context(), uris[0]); err == nil {
		conn.Close(t.Context())
		t.Error("a user that was dropped while the instance was broken can log in")
	}
	conn, err := pgx.Connect(t.Context(), uris[1])
	if err != nil {
		t.Fatalf("the other user cannot log in: %v", err)
	}
	conn.Close(t.Context())
}

// TestHungEngine stops an engine's process: for a while, and for good.
func TestHungEngine(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	pid := mustPID(t, b, spec.Instance)
	stopped := time.Now()
	mustSignal(t, pid, syscall.SIGSTOP)
	until(t, b, spec.Instance, failing)
	if took := time.Since(stopped); took > 5*time.Second {
		t.Errorf("a hung engine is seen after %s", took)
	}
	unwell, err := b.Unwell(t.Context())
	if err != nil || !slices.ContainsFunc(unwell, func(s backend.Status) bool { return s.Instance == spec.Instance }) {
		t.Errorf("unwell are %+v, %v", unwell, err)
	}
	mustSignal(t, pid, syscall.SIGCONT)
	until(t, b, spec.Instance, running)
	if err := session.Ping(t.Context()); err != nil || mustPID(t, b, spec.Instance) != pid {
		t.Errorf("an engine that stood still for a moment was started again: %v", err)
	}
	mustSignal(t, pid, syscall.SIGSTOP)
	until(t, b, spec.Instance, failing)
	if err := b.DropUser(t.Context(), spec.Instance, "u1"); err != nil {
		t.Errorf("DropUser of an engine that hangs: %v", err)
	}
	until(t, b, spec.Instance, running)
	if mustPID(t, b, spec.Instance) == pid {
		t.Error("the engine that hung is told to serve")
	}
	if told := hasTrouble(t, b, spec.Instance, "ended"); !strings.Contains(told, "the server ended: it did not answer any more.") {
		t.Errorf("of why it was started again it tells %q", told)
	}
	if conn, err := pgx.Connect(t.Context(), session.Config().ConnString()); err == nil {
		conn.Close(t.Context())
		t.Error("a user that was dropped while the engine hung can log in")
	}
	mustUser(t, b, spec.Instance)
}

// TestLocksRunOut: a PostgreSQL in which a client holds all locks, so that nobody can log in, serves again by itself,
// and the client can be unbound meanwhile.
func TestLocksRunOut(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes more than a minute")
	}
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	culprit := session.Config().User
	if _, err := session.Exec(t.Context(),
		"SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 9999999) i"); err == nil {
		t.Fatal("there is room for all locks")
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { // a busy machine may not answer at all, at first
		return failing(s) && strings.Contains(s.Message, "Clients hold all the locks")
	})
	if err := b.DropUser(t.Context(), spec.Instance, culprit); err != nil {
		t.Errorf("whose client it is cannot be unbound: %v", err)
	}
	untilWithin(t, 3*time.Minute, b, spec.Instance, running)
	mustUser(t, b, spec.Instance)
}

func mustSignal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// TestLostRecordIsMadeAnew destroys the record of an instance whose engine runs on, with a session.
func TestLostRecordIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, destroy := range map[string]func(path string) error{
		"damaged": func(path string) error { return os.WriteFile(path, []byte(`{"spec": {"inst`), 0o600) },
		"gone":    os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := keepertest.Config(t, 2)
			b, stop := keepertest.Run(t, c)
			spec := mustApply(t, b)
			session := mustUser(t, b, spec.Instance)
			before := until(t, b, spec.Instance, running)
			pid := mustPID(t, b, spec.Instance)
			stop()
			if err := destroy(recordPath(c, spec.Instance)); err != nil {
				t.Fatal(err)
			}
			b, _ = keepertest.Run(t, c)
			if held, err := b.Held(t.Context()); err != nil || len(held) > 0 {
				t.Errorf("held are %v, %v", held, err)
			}
			other := mustApply(t, b) // gets neither its port nor its user
			spec.Served = &backend.Served{Endpoint: before.Endpoint}
			for range 2 {
				if err := b.Apply(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
			}
			after := until(t, b, spec.Instance, running)
			if after.Endpoint != before.Endpoint || after.Generation != 1 || mustPID(t, b, spec.Instance) != pid {
				t.Errorf("it is now %+v, and was %+v", after, before)
			}
			if err := session.Ping(t.Context()); err != nil {
				t.Errorf("the session did not live through it: %v", err)
			}
			until(t, b, other.Instance, running)
			aside, err := filepath.Glob(recordPath(c, spec.Instance) + ".*")
			if err != nil || (len(aside) == 1) != (name == "damaged") {
				t.Errorf("moved aside: %q, %v", aside, err)
			}
		})
	}
}

// TestLostRecordAndData: a record that is made anew is no reason to make data.
func TestLostRecordAndData(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	mustExec(t, mustUser(t, b, spec.Instance), "CREATE TABLE precious AS SELECT 42 AS n")
	before := until(t, b, spec.Instance, running)
	stop()
	stopEngines(t, c)
	if err := os.Remove(recordPath(c, spec.Instance)); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(c.DataDir, "away")
	mustRename(t, filepath.Join(c.DataDir, "instances", string(spec.Instance)), away)
	b, _ = keepertest.Run(t, c)
	spec.Served = &backend.Served{Endpoint: before.Endpoint}
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, failing)
	mustRename(t, away, filepath.Join(c.DataDir, "instances", string(spec.Instance)))
	if after := until(t, b, spec.Instance, running); after.Endpoint != before.Endpoint {
		t.Errorf("it is now at %+v, and was at %+v", after.Endpoint, before.Endpoint)
	}
	mustExec(t, mustUser(t, b, spec.Instance), "SELECT n FROM precious")
}

// TestRecordOfTheVersionBefore has an instance run that a keeper of protocol 1 has left, with a session.
func TestRecordOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	before := until(t, b, spec.Instance, running)
	pid := mustPID(t, b, spec.Instance)
	stop()
	mustWrite(t, recordPath(c, spec.Instance), oldRecord(t, c, spec, before))
	b, _ = keepertest.Run(t, c)
	after := until(t, b, spec.Instance, running)
	if mustPID(t, b, spec.Instance) != pid || after.Endpoint != before.Endpoint || after.Generation != 1 {
		t.Errorf("it is now %+v, and was %+v", after, before)
	}
	if err := session.Ping(t.Context()); err != nil {
		t.Errorf("the session did not live through the adoption: %v", err)
	}
	spec.Generation, spec.Size.Connections = 2, 40
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running && s.Generation == 2 })
}

// oldRecord is the record that a keeper of protocol 1 wrote of the instance.
func oldRecord(t *testing.T, c keeper.Config, spec backend.Spec, s backend.Status) string {
	t.Helper()
	old, err := os.ReadFile(filepath.Join("testdata", "record-of-protocol-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	tls, err := json.Marshal(spec.TLS)
	if err != nil {
		t.Fatal(err)
	}
	uid := uint32(0)
	if os.Geteuid() == 0 {
		info, err := os.Stat(dataDir(c, spec.Instance))
		if err != nil {
			t.Fatal(err)
		}
		uid = info.Sys().(*syscall.Stat_t).Uid
	}
	return strings.NewReplacer("INSTANCE", string(spec.Instance), "TLS", string(tls), "PORT", fmt.Sprint(s.Endpoint.Port),
		"UID", fmt.Sprint(uid), "FULLVERSION", s.Build).Replace(string(old))
}

// TestChangeWithoutARestart gives an instance another certificate: no session ends.
func TestChangeWithoutARestart(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	pid := mustPID(t, b, spec.Instance)
	spec.Generation, spec.TLS = 2, enginetest.Certificate(t, "localhost", "db.example.org")
	mustReach(t, b, spec)
	if err := session.Ping(t.Context()); err != nil || mustPID(t, b, spec.Instance) != pid {
		t.Errorf("another certificate took a restart: %v", err)
	}
	mustUser(t, b, spec.Instance)
}

func mustReach(t testing.TB, b *local.Backend, spec backend.Spec) {
	t.Helper()
	if err := applyAndReach(t.Context(), b, spec); err != nil {
		t.Fatal(err)
	}
}

// TestImpossibleSettingsEndNothing: what an engine cannot be set to is found out before what serves is ended.
func TestImpossibleSettingsEndNothing(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	pid := mustPID(t, b, spec.Instance)
	for _, settings := range []string{`{"enable_extensions": ["no_such_extension"]}`, `{"colour": "red"}`, `[]`} {
		spec.Generation++
		spec.Settings = json.RawMessage(settings)
		if err := b.Apply(t.Context(), spec); err != nil {
			t.Fatalf("%s: %v", settings, err)
		}
		s := until(t, b, spec.Instance, func(s backend.Status) bool {
			return s.Obstacle.Generation == spec.Generation && s.Obstacle.Final
		})
		if s.Phase != backend.Running || s.Generation != 1 || mustPID(t, b, spec.Instance) != pid {
			t.Errorf("%s: it is %+v", settings, s)
		}
		t.Logf("%s: %s", settings, s.Obstacle.Sentence)
	}
	if err := session.Ping(t.Context()); err != nil {
		t.Errorf("impossible settings have ended a session: %v", err)
	}
}

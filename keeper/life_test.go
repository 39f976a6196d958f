package keeper_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestEnginesOutliveTheirKeeper(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, kill, ended := keepertest.Start(t, c, "")
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	before := until(t, b, spec.Instance, running)
	pid := mustPID(t, b, spec.Instance)
	for _, end := range []struct {
		how string
		do  func()
	}{
		{"asked to exit", func() { request(t, c, "POST", "/v1/exit", "") }},
		{"killed", func() { kill() }},
	} {
		end.do()
		<-ended
		if err := session.Ping(t.Context()); err != nil {
			t.Fatalf("the session did not outlive a keeper that was %s: %v", end.how, err)
		}
		_, kill, ended = keepertest.Start(t, c, "")
		after := until(t, b, spec.Instance, running)
		if mustPID(t, b, spec.Instance) != pid || after.Endpoint != before.Endpoint || after.Revision <= before.Revision {
			t.Errorf("after the return of a keeper that was %s: %+v, before: %+v", end.how, after, before)
		}
		if err := session.Ping(t.Context()); err != nil {
			t.Errorf("the session did not live through the adoption: %v", err)
		}
		before = after
	}
}

// An engine that another build has configured takes over what this one writes, without a restart.
func TestFoundEngineIsConfiguredAnew(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	until(t, b, spec.Instance, running)
	pid := mustPID(t, b, spec.Instance)
	stop()

	path := filepath.Join(c.DataDir, "instances", string(spec.Instance), "data", "postgresql.conf")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, "work_mem = '65kB'\n"...), 0o600)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
	awaitWorkMem(t, session, true)
	keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	awaitWorkMem(t, session, false)
	if now := mustPID(t, b, spec.Instance); now != pid {
		t.Errorf("it was started again as %d, and was %d", now, pid)
	}
}

// awaitWorkMem waits until a session has the setting that another build gave it, or has it no more.
func awaitWorkMem(t *testing.T, session *pgx.Conn, anothers bool) {
	t.Helper()
	var has string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err := session.QueryRow(t.Context(), "SHOW work_mem").Scan(&has); err != nil {
			t.Fatal(err)
		}
		if (has == "65kB") == anothers {
			return
		}
	}
	t.Fatalf("the setting is still %s", has)
}

// TestDeadEngineIsStartedAgain ends one instance's engine in all ways that come to mind.
func TestDeadEngineIsStartedAgain(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, running)
	pid := mustPID(t, b, spec.Instance)
	awaitAnother := func() {
		t.Helper()
		before := pid
		s = until(t, b, spec.Instance, func(s backend.Status) bool {
			if s.Phase == backend.Running {
				pid = mustPID(t, b, spec.Instance)
			}
			return s.Phase == backend.Running && pid != before
		})
	}

	mustKill(t, pid)
	awaitAnother()

	// While nobody keeps it, with a query in the middle that does not look up.
	busy := make(chan error, 1)
	session := mustUser(t, b, spec.Instance)
	go func() {
		_, err := session.Exec(t.Context(), "DO $$ BEGIN LOOP END LOOP; END $$")
		busy <- err
	}()
	stop()
	mustKill(t, pid)
	_, stop = keepertest.Run(t, c)
	awaitAnother()
	if err := <-busy; err == nil {
		t.Error("the query has ended well")
	}

	// What it is found by is lost: it cannot be adopted, and must not stand in the way.
	stop()
	if err := os.Remove(pidFile(c, s)); err != nil {
		t.Fatal(err)
	}
	keepertest.Run(t, c)
	awaitAnother()
}

func mustKill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestEngineComesUpWhenItCan takes the engine's programs away and brings them back.
func TestEngineComesUpWhenItCan(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	root := testkit.Dir(t)
	c.Engines = map[string]engine.Engine{"postgres": postgres.Engine{Roots: []string{root}}}
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Failing })
	if s.Message != "postgres 15 is not installed on this machine." {
		t.Errorf("the reason is %q", s.Message)
	}
	if err := os.Symlink("/usr/lib/postgresql/15", filepath.Join(root, "15")); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, running)
}

func TestRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	mustUser(t, b, spec.Instance)
	for again := range 2 {
		err := b.Remove(t.Context(), spec.Instance)
		if err != nil && (again == 0 || backstay.KindOf(err) != backstay.NotFound) { // it may be gone by then
			t.Fatal(err)
		}
	}
	awaitGone(t, b, spec.Instance)
	checkNothingLeft(t, c)
}

// TestRemoveLeavesNoSharedMemory removes an instance whose server has left a segment of shared memory, as one does that is
// killed and not started again. That of others stays.
func TestRemoveLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only where the keeper is root have instances users of their own")
	}
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	var data syscall.Stat_t
	if err := syscall.Stat(filepath.Join(c.DataDir, "instances", homeOf(spec, "1"), "data"), &data); err != nil {
		t.Fatal(err)
	}
	segment := func(uid uint32) (path string) {
		f, err := os.CreateTemp("/dev/shm", "backstay-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(f.Name()) })
		if err := errors.Join(f.Chown(int(uid), int(uid)), f.Close()); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	its, anothers := segment(data.Uid), segment(data.Uid+1)
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	if _, err := os.Lstat(its); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the instance's segment is still there: %v", err)
	}
	if _, err := os.Lstat(anothers); err != nil {
		t.Errorf("another user's segment: %v", err)
	}
}

func TestStopEndsEnginesWithClients(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 2)
	b, _ := keepertest.Run(t, c)
	first, second := mustApply(t, b), mustApply(t, b)
	mustUser(t, b, first.Instance)
	pids := []int{mustPID(t, b, first.Instance), mustPID(t, b, second.Instance)}
	if response := request(t, c, "POST", "/v1/stop", ""); response.StatusCode != http.StatusNoContent {
		t.Errorf("stop: %s", response.Status)
	}
	for _, pid := range pids {
		if _, err := process.Open(pid); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("engine %d outlived stop: %v", pid, err)
		}
	}
}

func TestStopEnginesWithoutAKeeper(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, kill, _ := keepertest.Start(t, c, "")
	spec := mustApply(t, b)
	mustUser(t, b, spec.Instance)
	kill()
	for _, want := range []int{1, 0} {
		if count, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil || count != want {
			t.Errorf("StopEngines: %d, %v; want %d", count, err, want)
		}
	}
	if count, err := keeper.StopEngines(filepath.Join(c.DataDir, "none"), c.Engines); err != nil || count != 0 {
		t.Errorf("StopEngines where nothing is: %d, %v", count, err)
	}
}

// TestStrangersAreLeftAlone has pid files name processes that are not engines of ours.
func TestStrangersAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, kill, _ := keepertest.Start(t, c, "")
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, running)
	kill()
	stopEngines(t, c)
	stranger := startIn(t, "/")
	visitor := stranger // in the instance's directory, as an operator's shell may be, but not of its user
	if os.Geteuid() == 0 {
		visitor = startIn(t, filepath.Join(c.DataDir, "instances", string(spec.Instance)))
	}
	for _, text := range []string{fmt.Sprint(stranger), fmt.Sprint(visitor), "4194305", ""} {
		if err := os.WriteFile(pidFile(c, s), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, stop := keepertest.Run(t, c)
		if pid := mustPID(t, b, spec.Instance); pid == stranger || pid == visitor {
			t.Errorf("process %d was adopted", pid)
		}
		stop()
		stopEngines(t, c)
	}
	for _, pid := range []int{stranger, visitor} {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(status) != "sleep\n" {
			t.Errorf("process %d was killed: %s, %v", pid, status, err)
		}
	}
}

func stopEngines(t *testing.T, c keeper.Config) {
	t.Helper()
	if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
		t.Fatal(err)
	}
}

// startIn runs a process of our own that works in a directory.
func startIn(t *testing.T, dir string) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// TestOurOwnDatabaseComesFirst: the control plane waits for it, and for no other.
func TestOurOwnDatabaseComesFirst(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 4)
	b, stop := keepertest.Run(t, c)
	var others []backend.Spec
	for range 4 {
		others = append(others, mustApply(t, b))
	}
	ours := newSpec(t)
	ours.Private, ours.TLS = true, backstay.Certificate{}
	if err := b.Apply(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	for _, spec := range append(others, ours) {
		until(t, b, spec.Instance, running)
	}
	stop()
	stopEngines(t, c)
	b, _ = keepertest.Run(t, c)
	first := until(t, b, ours.Instance, running)
	for _, spec := range others {
		if s := until(t, b, spec.Instance, running); s.Revision < first.Revision {
			t.Errorf("instance %s came up before our own database", spec.Instance)
		}
	}
}

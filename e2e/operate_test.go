package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// settled is a platform with a bound instance.
func settled(t *testing.T) *life {
	t.Helper()
	w := &ward{breed: postgresBreed, platform: start(t, "backstay")}
	l := &life{ward: w, t: t, name: "settled"}
	w.space, w.app = l.settle()
	l.create()
	l.bind()
	return l
}

// enginePID is the main process of an instance's engine.
func (l *life) enginePID(instance string) int {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.data, "instances", instance, "data", "postmaster.pid"))
	if err != nil {
		l.t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		l.t.Fatal(err)
	}
	return pid
}

// TestKilledEngineServesAgain kills PostgreSQL as the kernel does when memory is short. Another
// instance's clients do not notice.
func TestKilledEngineServesAgain(t *testing.T) {
	t.Parallel()
	l := settled(t)
	stillThere := l.neighbour()
	if _, err := l.connect().Exec(t.Context(), "CREATE TABLE kept AS SELECT 1"); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 3 {
		busy := l.connect() // in a long query, which keeps its process from noticing
		go busy.Exec(t.Context(), "SELECT count(*) FROM generate_series(1, 1000000000)")
		l.awaitBusy()
		pid := l.enginePID(l.instance)
		begun := time.Now()
		killPID(pid)
		for l.enginePIDNow() == pid || !l.serves() {
			if time.Since(begun) > patience {
				t.Fatalf("the engine does not come back\n%s", l.logs())
			}
			time.Sleep(2 * time.Millisecond)
		}
		took = append(took, time.Since(begun))
		stillThere()
	}
	t.Logf("a killed engine served again after %s", took)
	if best := median(took); best > 5*time.Second { // 1 s on an idle machine, which this need not be
		t.Errorf("a killed engine took %s to serve again", best)
	}
}

// neighbour opens a session on another instance and returns what fails unless it is still the same.
func (l *life) neighbour() (stillThere func()) {
	l.t.Helper()
	r := l.resident("neighbour")
	r.create()
	r.bind()
	session := r.connect()
	if _, err := session.Exec(l.t.Context(), "CREATE TEMPORARY TABLE mine AS SELECT 42"); err != nil {
		l.t.Fatal(err)
	}
	return func() {
		l.t.Helper()
		if _, err := session.Exec(l.t.Context(), "TABLE mine"); err != nil {
			l.t.Fatalf("a session on another instance did not survive: %v", err)
		}
	}
}

func (l *life) awaitBusy() {
	l.t.Helper()
	watcher := l.connect()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		var busy bool
		err := watcher.QueryRow(l.t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%1000000000%' AND pid <> pg_backend_pid())").Scan(&busy)
		if err != nil {
			l.t.Fatal(err)
		}
		if busy {
			return
		}
	}
	l.t.Fatal("the long query does not begin")
}

// enginePIDNow is 0 while the file is being replaced.
func (l *life) enginePIDNow() (pid int) {
	text, _ := os.ReadFile(filepath.Join(l.data, "instances", l.instance, "data", "postmaster.pid"))
	fmt.Sscan(string(text), &pid)
	return pid
}

func (l *life) serves() bool {
	conn, err := pgx.Connect(l.t.Context(), l.credentials["uri"].(string))
	if err != nil {
		return false
	}
	defer conn.Close(l.t.Context())
	var one int
	return conn.QueryRow(l.t.Context(), "SELECT * FROM kept").Scan(&one) == nil
}

// TestStopAndServeAgain ends everything and begins again: the data is there, and the same credentials
// reach it at the same endpoint.
func TestStopAndServeAgain(t *testing.T) {
	t.Parallel()
	l := settled(t)
	if _, err := l.connect().Exec(t.Context(), "CREATE TABLE kept AS SELECT 1"); err != nil {
		t.Fatal(err)
	}
	l.stop()
	if left := processesIn(t, l.data); len(left) > 0 {
		t.Errorf("processes outlived backstay stop: %q", left)
	}
	if l.serves() {
		t.Error("the instance serves after backstay stop")
	}
	l.mustServe()
	for begun := time.Now(); !l.serves(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("the instance does not come back\n%s", l.logs())
		}
	}
	l.unbind()
}

// TestStopWithoutKeeper ends databases whose keeper has died, and whose control plane too.
func TestStopWithoutKeeper(t *testing.T) {
	t.Parallel()
	l := settled(t)
	l.kill()
	l.killKeeper()
	l.stop()
	if left := processesIn(t, l.data); len(left) > 0 {
		t.Errorf("processes outlived backstay stop: %q", left)
	}
}

// processesIn lists the command lines of all processes that work below dir.
func processesIn(t testing.TB, dir string) (commands []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		cwd, err := os.Readlink(filepath.Join(p, "cwd"))
		command, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if err == nil && strings.HasPrefix(cwd, dir) || bytes.Contains(command, []byte(dir+"/")) || bytes.Contains(command, []byte(dir+"\x00")) {
			commands = append(commands, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return commands
}

// TestTwoControlPlanes refuses a second one on the same data, or on the same port.
func TestTwoControlPlanes(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	refused(t, p, 1, "a Backstay is running on "+p.data+" already", p.args...)
	other := append([]string{"serve", "--data", t.TempDir()}, p.args[3:]...)
	refused(t, p, 1, "address already in use", other...)
	if _, _, err := p.call("GET", "/v3/organizations", nil, nil); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

// TestMisusedServe refuses flags that cannot be meant, before anything is made.
func TestMisusedServe(t *testing.T) {
	t.Parallel()
	p := &platform{t: t, binary: filepath.Join(built, "backstay")}
	data := filepath.Join(t.TempDir(), "data")
	for reason, flags := range map[string][]string{
		"flag provided but not defined: -fly":             {"--fly"},
		`serve takes no argument "now"`:                   {"now"},
		`--listen "7480" is not HOST:PORT`:                {"--listen", "7480"},
		"--ports":                                         {"--ports", "32000-20000"},
		"--tls-certificate and --tls-key belong together": {"--tls-certificate", "some.pem"},
		`invalid value "plenty" for flag -min-free`:       {"--min-free", "plenty"},
	} {
		refused(t, p, 2, reason, append([]string{"serve", "--data", data}, flags...)...)
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a misused command made %s (%v)", data, err)
	}
}

func refused(t *testing.T, p *platform, code int, reason string, args ...string) {
	t.Helper()
	out, err := exec.Command(p.binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(string(out), reason) || !strings.Contains(string(out), "Type: ") {
		t.Errorf("backstay %s: %v\n%s\nwant exit code %d, %q and what to type next", args, err, out, code, reason)
	}
}

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// settled is a platform with a bound instance.
func settled(t *testing.T) *life {
	t.Helper()
	w := &ward{platform: start(t, "backstay")}
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

// TestKilledEngineServesAgain kills PostgreSQL as the kernel does when memory is short.
func TestKilledEngineServesAgain(t *testing.T) {
	t.Parallel()
	l := settled(t)
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
	}
	t.Logf("a killed engine served again after %s", took)
	if best := median(took); best > 5*time.Second { // 1 s on an idle machine, which this need not be
		t.Errorf("a killed engine took %s to serve again", best)
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
	refused(t, p, "a Backstay is running on "+p.data+" already", p.args...)
	other := append([]string{"serve", "--data", t.TempDir()}, p.args[3:]...)
	refused(t, p, "address already in use", other...)
	if _, _, err := p.call("GET", "/v3/organizations", nil, nil); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

func refused(t *testing.T, p *platform, reason string, args ...string) {
	t.Helper()
	out, err := exec.Command(p.binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), reason) || !strings.Contains(string(out), "Type: ") {
		t.Errorf("backstay %s: %v\n%s\nwant exit code 1, %q and what to type next", args, err, out, reason)
	}
}

// TestSecretsStayInside looks for secrets wherever others could look: process lists, logs, and files
// that are not their owner's alone.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	l := settled(t)
	l.connect()
	sealKey, err := os.ReadFile(filepath.Join(l.data, "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"admin's password": l.password, "an access token": l.token,
		"a binding's password": l.credentials["password"].(string), "the seal key": strings.TrimSpace(string(sealKey)),
	}
	for what, secret := range secrets {
		if len(secret) < 16 {
			t.Fatalf("%s is %q, which is none", what, secret)
		}
	}
	look := func(where string, text []byte) {
		for what, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		text, _ := os.ReadFile(path) // some have ended by now
		look(path, text)
	}
	err = filepath.WalkDir(l.data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // databases make and remove files all the time
		}
		if err != nil {
			return err
		}
		return l.checkFile(path, d, look)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkFile holds a file to being its owner's alone. As root, directories may be passed through by the
// users that databases run as.
func (l *life) checkFile(path string, d fs.DirEntry, look func(where string, text []byte)) error {
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	allowed := fs.FileMode(0o700)
	if d.IsDir() && os.Geteuid() == 0 {
		allowed = 0o711
	}
	if d.Type() != fs.ModeSymlink && info.Mode().Perm()&^allowed != 0 {
		l.t.Errorf("%s has mode %s", path, info.Mode())
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; d.IsDir() && info.Mode().Perm()&0o011 != 0 && owner != uint32(os.Geteuid()) {
		l.t.Errorf("%s can be passed through, and is not ours", path)
	}
	if strings.HasSuffix(path, ".log") || strings.HasSuffix(path, ".log.1") {
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	}
	return nil
}

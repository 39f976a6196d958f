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

	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// settled is a platform with a bound instance.
func settled(t *testing.T, of breed) *life {
	t.Helper()
	w := &ward{breed: of, platform: start(t, "backstay", of.flags...)}
	l := &life{ward: w, t: t, name: "settled"}
	w.space, w.app = l.settle()
	l.create()
	l.bind()
	return l
}

// enginePID is the main process of the instance's engine; 0 while there is none.
func (l *life) enginePID() (pid int) {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.data, "run", fmt.Sprint(l.credentials["port"]), "node.pid"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		l.t.Fatal(err)
	}
	fmt.Sscan(string(text), &pid)
	return pid
}

// TestKilledEngineServesAgain kills an engine as the kernel does when memory is short. Another
// instance's clients do not notice.
func TestKilledEngineServesAgain(t *testing.T) {
	onEachBreed(t, func(l *life) {
		stillThere := l.neighbour()
		l.keep()
		var took []time.Duration
		for range 3 {
			busy := l.begin()
			go busy.Toil(l.t.Context())
			l.awaitToil()
			took = append(took, l.killEngine())
			stillThere()
		}
		l.t.Logf("a killed engine served again after %s", took)
		if best := median(took); best > 5*time.Second { // 1 s on an idle machine, which this need not be
			l.t.Errorf("a killed engine took %s to serve again", best)
		}
	})
}

// killEngine returns how long it took until another process serves what was kept.
func (l *life) killEngine() time.Duration {
	l.t.Helper()
	pid, begun := l.enginePID(), time.Now()
	if pid == 0 {
		l.t.Fatal("no engine runs")
	}
	killPID(pid)
	for now := pid; now == pid || now == 0 || !l.serves(); now = l.enginePID() {
		if time.Since(begun) > patience {
			l.t.Fatalf("the engine does not come back\n%s", l.logs())
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begun)
}

// neighbour opens a session on another instance and returns what fails unless it is still the same.
func (l *life) neighbour() (stillThere func()) {
	l.t.Helper()
	r := l.resident("neighbour")
	r.create()
	r.bind()
	session := r.begin()
	was, err := session.Identity(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return func() {
		l.t.Helper()
		if is, err := session.Identity(l.t.Context()); err != nil || is != was {
			l.t.Fatalf("a session on another instance did not survive: it was %s, and is %s (%v)", was, is, err)
		}
	}
}

func (l *life) keep() {
	l.t.Helper()
	if err := l.begin().Keep(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) awaitToil() {
	l.t.Helper()
	watcher := l.begin()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		toils, err := watcher.Toils(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		if toils {
			return
		}
	}
	l.t.Fatal("the long request does not begin")
}

// serves tells whether the credentials lead to what was kept.
func (l *life) serves() bool {
	s, err := l.open(l.t.Context(), l.credentials)
	if err != nil {
		return false
	}
	defer s.Close()
	return s.Kept(l.t.Context()) == nil
}

// TestStopAndServeAgain ends everything and begins again: the data is there, and the same credentials
// reach it at the same endpoint. So it is once more when control plane and keeper have died before.
func TestStopAndServeAgain(t *testing.T) {
	onEachBreed(t, func(l *life) {
		l.keep()
		l.stopAndServe()
		l.kill()
		l.killKeeper()
		l.stopAndServe()
		l.unbind()
	})
}

func (l *life) stopAndServe() {
	l.t.Helper()
	l.stop()
	l.checkNothingRuns()
	if l.serves() {
		l.t.Error("the instance serves after backstay stop")
	}
	l.mustServe()
	for begun := time.Now(); !l.serves(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			l.t.Fatalf("the instance does not come back\n%s", l.logs())
		}
	}
}

func (l *life) checkNothingRuns() {
	l.t.Helper()
	if left := processesIn(l.t, l.data); len(left) > 0 {
		l.t.Errorf("processes outlived backstay stop: %q", left)
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
		if err == nil && strings.HasPrefix(cwd, dir) || bytes.Contains(command, []byte(dir+"/")) ||
			bytes.Contains(command, []byte(dir+"\x00")) {
			commands = append(commands, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return commands
}

// TestTwoControlPlanes refuses a second one on the same data, on the same port, or on the same state database.
func TestTwoControlPlanes(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	refused(t, p, 1, "a Backstay is running on "+p.data+" already", p.args...)
	other := append([]string{"serve", "--data", t.TempDir()}, p.args[3:]...)
	refused(t, p, 1, "address already in use", other...)
	beside := testkit.Dir(t)
	t.Cleanup(func() { exec.Command(p.binary, "stop", "--data", beside).Run() })
	served := postgres.AdminDSN(filepath.Join(p.data, "run", "state"), 0)
	refused(t, p, 1, "The state database is served already, by backstay serve, process",
		"serve", "--data", beside, "--listen", "127.0.0.1:0", "--database-url", served,
		"--seal-key", filepath.Join(p.data, "seal.key"))
	if _, _, err := p.call("GET", "/v3/organizations", nil, nil); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

// TestOperatorsCertificate serves the API with a certificate that the operator brings.
func TestOperatorsCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := enginetest.Certificate(t, "127.0.0.1")
	stranger := enginetest.Certificate(t, "127.0.0.1").Authority
	for name, text := range map[string]string{"chain.pem": c.Leaf, "key.pem": c.Key.Reveal(), "authority.pem": c.Authority, "stranger.pem": stranger} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, "backstay", "--tls-certificate", filepath.Join(dir, "chain.pem"), "--tls-key",
		filepath.Join(dir, "key.pem"))
	for authority, trusted := range map[string]bool{"authority.pem": true, "stranger.pem": false} {
		cmd := exec.Command(filepath.Join(repository, "bin", "cf"), "login", "-a", p.url, "-u", "admin", "-p", p.password)
		cmd.Env = append(os.Environ(), "CF_HOME="+t.TempDir(), "SSL_CERT_FILE="+filepath.Join(dir, authority),
			"SSL_CERT_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); (err == nil) != trusted {
			t.Errorf("whoever trusts %s: %v\n%s", authority, err, out)
		}
	}
	renewed := enginetest.Certificate(t, "127.0.0.1")
	for name, text := range map[string]string{"chain.pem": renewed.Leaf, "key.pem": renewed.Key.Reveal()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the API has the renewed certificate", func() bool {
		said, _ := exec.Command("openssl", "s_client", "-connect", strings.TrimPrefix(p.url, "https://")).CombinedOutput()
		return strings.Contains(string(said), renewed.Leaf)
	})
}

// TestTenantsGoFirst has the kernel's out-of-memory killer take databases of tenants before anything of the platform,
// as far as the rights of whoever runs these tests go.
func TestTenantsGoFirst(t *testing.T) {
	onEachBreed(t, func(l *life) {
		want := 0 // what everybody begins with, where nobody may lower it
		if exec.Command("sh", "-c", "echo -900 >/proc/self/oom_score_adj").Run() == nil {
			want = -900
		}
		var state int
		text, err := os.ReadFile(filepath.Join(l.data, "run", "state", "node.pid"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Sscan(string(text), &state)
		score := func(of string, pid, want int) {
			t.Helper()
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
			if got := strings.TrimSpace(string(text)); err != nil || got != fmt.Sprint(want) {
				l.t.Errorf("%s has the score %s, %v; want %d", of, got, err, want)
			}
		}
		score("serve", l.serve.Process.Pid, want)
		score("the keeper", l.keeperPID(), want)
		score("the state database", state, want)
		score("a tenant's database", l.enginePID(), 900)
	})
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
		`--url "none" is not a URL that users reach`:      {"--url", "none"},
		`--url "https://:7480" is not a URL`:              {"--url", "https://:7480"},
		`--url "https://api:99999" is not a URL`:          {"--url", "https://api:99999"},
		`--url "https://u:p@api" is not a URL`:            {"--url", "https://u:p@api"},
		"--ports":                                         {"--ports", "32000-20000"},
		"--tls-certificate and --tls-key belong together": {"--tls-certificate", "some.pem"},
		`--min-free "plenty" is not a size with its unit`: {"--min-free", "plenty"},
		"There are 2 mistakes":                            {"--ports", "1", "--audit-days", "0"},
	} {
		refused(t, p, 2, reason, append([]string{"serve", "--data", data}, flags...)...)
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a misused command made %s (%v)", data, err)
	}
}

func refused(t testing.TB, p *platform, code int, reason string, args ...string) {
	t.Helper()
	out, err := exec.Command(p.binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(string(out), reason) ||
		!strings.Contains(string(out), "Type: ") {
		t.Errorf("backstay %s: %v\n%s\nwant exit code %d, %q and what to type next", args, err, out, code, reason)
	}
}

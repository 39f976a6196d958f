package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/testkit"
)

// laptop is a developer's machine, logged in, with the plugin.
type laptop struct {
	t    testing.TB
	home string
	env  []string
}

// newLaptop targets a space of the organization "laptop", with the PostgreSQL instance my-pg in it.
func newLaptop(t testing.TB, p *platform) *laptop {
	t.Helper()
	home := testkit.Dir(t)
	l := &laptop{t: t, home: home, env: append(os.Environ(), "CF_HOME="+home, "CF_PLUGIN_HOME="+home, "HOME="+home,
		"CF_USERNAME=admin", "CF_PASSWORD="+p.password, "SSL_CERT_FILE="+filepath.Join(p.data, "authority.pem"),
		"PATH="+filepath.Join(repository, "bin")+":"+os.Getenv("PATH"))}
	for _, line := range []string{
		"api " + p.url, "auth", "create-org laptop", "create-space dev -o laptop", "target -o laptop -s dev",
		"add-plugin-repo backstay " + p.url + "/plugins", "install-plugin conduit -r backstay -f",
		"create-service postgres Free my-pg --wait",
	} {
		l.must(strings.Fields(line)...)
	}
	return l
}

func (l *laptop) cf(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(repository, "bin", "cf"), args...)
	cmd.Env, cmd.Dir = l.env, l.home
	return cmd
}

func (l *laptop) must(args ...string) string {
	l.t.Helper()
	out, err := l.cf(args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("cf %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// begin starts a command whose standard error is kept, and whose group ends with the test.
func (l *laptop) begin(args ...string) (*exec.Cmd, *said) {
	l.t.Helper()
	cmd, errors := l.cf(args...), &said{}
	cmd.Stderr, cmd.SysProcAttr = errors, &syscall.SysProcAttr{Setpgid: true}
	l.t.Cleanup(func() {
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	return cmd, errors
}

// said is what a command says while it runs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func listens(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// A tunnel that breaks is a failure, whether the program notices or takes the end for the end. What was
// lent ends by itself, although nobody was there when its time was over.
func TestConduitBreaksLoudly(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay", "--conduit-grace", "2s")
	l := newLaptop(t, p)
	const endless = `COPY (SELECT repeat('x', 1000), generate_series(1, 1000000000)) TO STDOUT`
	for _, tc := range []struct {
		name    string
		program []string
		say     string
	}{
		{"Noticed", []string{"psql", "-c", endless}, "psql ended with exit code"},
		{"TakenForTheEnd", []string{"sh", "-c", `psql -c "` + endless + `" 2>/dev/null || true`}, "may be incomplete"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l.t = t
			cmd, errors := l.begin(append([]string{"conduit", "-n", "broken", "my-pg", "--"}, tc.program...)...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, out, 10<<20); err != nil {
				t.Fatalf("read: %v\n%s", err, errors)
			}
			p.kill()
			io.Copy(io.Discard, out)
			if err := cmd.Wait(); err == nil || !strings.Contains(errors.String(), tc.say) {
				t.Errorf("%v\n%s", err, errors)
			}
			p.mustServe()
			eventually(t, "the key ends by itself",
				func() bool { return !strings.Contains(l.must("service-keys", "my-pg"), "broken") })
		})
	}
}

// Without a program conduit goes on when Backstay is gone for a while, with the credentials it had. It
// ends, and gives back what it was lent, when the cf command that began it is gone.
func TestConduitOutlivesServe(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay", "--conduit-grace", "20s")
	l := newLaptop(t, p)
	port, _ := testkit.Ports(t, 1)
	cmd, errors := l.begin("conduit", "-n", "waiting", "-p", fmt.Sprint(port), "my-pg")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits", func() bool { return strings.Contains(errors.String(), "Press Ctrl+C") })
	uri := regexp.MustCompile(`uri: (postgres://\S+)`).FindStringSubmatch(errors.String())[1]
	query := func() error {
		cmd := exec.Command("psql", uri, "-Atc", "SELECT 1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := query(); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if err := query(); err == nil {
		t.Error("psql reached the service without Backstay")
	}
	p.mustServe()
	var err error
	eventually(t, "it is there again", func() bool { err = query(); return err == nil })
	cmd.Process.Kill()
	cmd.Process.Wait()
	eventually(t, "its port is closed", func() bool {
		return !listens(port)
	})
	eventually(t, "its key is gone", func() bool { return !strings.Contains(l.must("service-keys", "my-pg"), "waiting") })
}

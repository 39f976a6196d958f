package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/testkit"
)

// BenchmarkConduitBulk reads half a gigabyte out of PostgreSQL through cf conduit, to an API with TLS,
// beside the same through ssh -L. It may take 1/0.9 of the time.
func BenchmarkConduitBulk(b *testing.B) {
	w := newWays(b)
	const size = 512 << 20
	statement := fmt.Sprintf(`COPY (SELECT repeat('x', 1000) FROM (SELECT generate_series(1, %d)) s) TO STDOUT`,
		size/1001)
	var ours, ssh, direct []time.Duration
	for range 5 {
		ours = append(ours, w.read(w.conduit, statement))
		ssh = append(ssh, w.read(w.ssh, statement))
		direct = append(direct, w.read(w.direct, statement))
	}
	perSecond := func(d time.Duration) float64 { return size / 1e6 / d.Seconds() }
	b.ReportMetric(perSecond(median(ours)), "MB/s")
	b.ReportMetric(perSecond(median(ssh)), "baseline-MB/s")
	b.ReportMetric(perSecond(median(direct)), "direct-MB/s")
	report(b, median(ours), median(ssh), 1/0.9)
}

// BenchmarkConduitLatency is a transaction of pgbench -S with one client through cf conduit, beside
// ssh -L.
func BenchmarkConduitLatency(b *testing.B) {
	w := newWays(b)
	w.pgbench(w.direct, "-i", "-q")
	var ours, ssh []time.Duration
	for range 5 {
		ours = append(ours, w.perTransaction(w.conduit))
		ssh = append(ssh, w.perTransaction(w.ssh))
	}
	report(b, median(ours), median(ssh), 1.3)
	b.ReportMetric(float64(median(ours).Microseconds()), "µs")
}

// ways are ports by which one instance is reached.
type ways struct {
	b                    *testing.B
	conduit, ssh, direct int
	env                  []string
}

func newWays(b *testing.B) *ways {
	p := start(b, "backstay", "--tls")
	l := newLaptop(b, p)
	first, _ := testkit.Ports(b, 3)
	cmd, errors := l.begin("conduit", "-p", fmt.Sprint(first), "my-pg")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	eventually(b, "conduit waits", func() bool { return strings.Contains(errors.String(), "Press Ctrl+C") })
	field := func(name string) string {
		return regexp.MustCompile(name + `: (\S+)`).FindStringSubmatch(errors.String())[1]
	}
	l.must("create-service-key", "my-pg", "direct")
	own := regexp.MustCompile(`"port": (\d+)`).FindStringSubmatch(l.must("service-key", "my-pg", "direct"))[1]
	direct, err := strconv.Atoi(own)
	if err != nil {
		b.Fatal(err)
	}
	w := &ways{b: b, conduit: first, direct: direct, ssh: first + 2}
	w.env = append(os.Environ(), "PGHOST=127.0.0.1", "PGDATABASE=main", "PGUSER="+field("username"),
		"PGPASSWORD="+field("password"), "PGSSLMODE=verify-full", "PGSSLROOTCERT="+field("ca_certificate"))
	forwardBySSH(b, first+1, w.ssh, direct)
	return w
}

// forwardBySSH lets ssh forward a port to another through an sshd of its own.
func forwardBySSH(b *testing.B, at, from, to int) {
	b.Helper()
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		b.Fatalf("%v; type: scripts/setup bench", err)
	}
	dir := testkit.Dir(b)
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(key)).
			CombinedOutput(); err != nil {
			b.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	config := fmt.Sprintf(
		"Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n",
		at,
		path("host"),
		path("user.pub"),
	)
	if err := os.WriteFile(path("sshd_config"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // where sshd gives up its rights
	}
	run := func(program string, args ...string) {
		cmd := exec.Command(program, args...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { end(cmd) })
	}
	run("/usr/sbin/sshd", "-D", "-q", "-f", path("sshd_config"))
	eventually(b, "sshd listens", func() bool { return listens(at) })
	run("ssh", "-N", "-q", "-F", "none", "-i", path("user"), "-o", "StrictHostKeyChecking=no", "-o",
		"UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes", "-L",
		fmt.Sprintf("127.0.0.1:%d:127.0.0.1:%d", from, to), "-p", fmt.Sprint(at), "127.0.0.1")
	eventually(b, "ssh forwards", func() bool { return listens(from) })
}

func (w *ways) read(port int, statement string) time.Duration {
	begun := time.Now()
	w.run(port, "psql", "-q", "-o", "/dev/null", "-c", statement)
	return time.Since(begun)
}

func (w *ways) pgbench(port int, args ...string) []byte {
	return w.run(port, programs+"pgbench", args...)
}

func (w *ways) perTransaction(port int) time.Duration {
	out := w.pgbench(port, "-S", "-T", "3")
	match := regexp.MustCompile(`latency average = ([0-9.]+) ms`).FindSubmatch(out)
	if match == nil {
		w.b.Fatalf("pgbench says nothing of latency: %s", out)
	}
	ms, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		w.b.Fatal(err)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

func (w *ways) run(port int, program string, args ...string) []byte {
	w.b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(w.env, fmt.Sprintf("PGPORT=%d", port))
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.b.Fatalf("%s: %v\n%s", program, err, out)
	}
	return out
}

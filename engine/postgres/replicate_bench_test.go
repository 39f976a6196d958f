package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// BenchmarkFailover kills primaries whose standby is awaited, beside what one does by hand: pg_basebackup, and pg_ctl
// promote once the primary is dead. From the kill to the first write, it includes no detection: this is the engine's part.
// Commits are those of one client.
func BenchmarkFailover(b *testing.B) {
	p := enginetest.NewPair(b, postgres.Engine{}, "")
	p.Protect(b)
	hand := newHandPair(b)
	for b.Loop() {
		n := p.Primary()
		ours := committing(b, n.RunDir, n.Endpoint.Port, "backstay", "main", n)
		byHand := committing(b, hand.dir, hand.ports[hand.leads], "postgres", "postgres", n)
		b.ReportMetric(ours, "ms/commit")
		b.ReportMetric(ours/byHand, "commit/by-hand")
		took := failOver(b, p)
		b.ReportMetric(took.Seconds(), "s/failover")
		alone := hand.failOver(b)
		b.Logf("a failover takes %v, by hand %v", took, alone)
		b.ReportMetric(took.Seconds()/alone.Seconds(), "failover/by-hand")
		b.ReportMetric(switchOver(b, p).Seconds(), "s/switchover")
	}
}

func failOver(b *testing.B, p *enginetest.Pair) time.Duration {
	b.Helper()
	began := time.Now()
	p.KillPrimary(b)
	p.FailOver(b)
	writeBy(b, postgres.AdminDSN(p.Primary().RunDir, p.Primary().Endpoint.Port))
	took := time.Since(began)
	p.Rejoin(b)
	p.Protect(b)
	return took
}

// switchOver ends the primary once it has handed over.
func switchOver(b *testing.B, p *enginetest.Pair) time.Duration {
	b.Helper()
	if err := p.HandOver(b.Context(), p.Primary(), p.Standby()); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	p.EndPrimary(b)
	p.FailOver(b)
	writeBy(b, postgres.AdminDSN(p.Primary().RunDir, p.Primary().Endpoint.Port))
	took := time.Since(began)
	p.Rejoin(b)
	p.Protect(b)
	return took
}

// writeBy writes as soon as the server lets it.
func writeBy(b *testing.B, address string) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		conn, err := pgx.Connect(b.Context(), address)
		if err == nil {
			_, err = conn.Exec(b.Context(), `CREATE TABLE IF NOT EXISTS public.written (n int)`)
			conn.Close(context.Background())
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

var latency = regexp.MustCompile(`latency average = ([0-9.]+) ms`)

// committing returns how many milliseconds a commit takes.
func committing(b *testing.B, host string, port int, role, database string, n engine.Node) (milliseconds float64) {
	b.Helper()
	script := filepath.Join(b.TempDir(), "script")
	if err := os.WriteFile(script, []byte("INSERT INTO public.written VALUES (1);\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	writeBy(b, fmt.Sprintf("postgres:///%s?host=%s&port=%d&user=%s", database, host, port, role))
	out, err := exec.CommandContext(b.Context(), filepath.Join(n.Installation.Dir, "pgbench"), "--no-vacuum",
		"--file="+script, "--time=3", "--host="+host, "--port="+strconv.Itoa(port), "--username="+role,
		database).CombinedOutput()
	match := latency.FindSubmatch(out)
	if err != nil || match == nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	milliseconds, _ = strconv.ParseFloat(string(match[1]), 64) // it is a number
	return milliseconds
}

// handPair is a primary and a standby as a manual has one make them, without encryption.
type handPair struct {
	dir, bin string
	ports    [2]int
	leads    int
	as       *syscall.Credential
}

func newHandPair(b *testing.B) *handPair {
	b.Helper()
	h := &handPair{dir: testkit.Dir(b), bin: enginetest.NewNode(b, postgres.Engine{}).Installation.Dir}
	h.ports[0], h.ports[1] = testkit.Ports(b, 2)
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			b.Skip("there is no user postgres")
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32) // it is a number, on Linux
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		h.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(h.dir, int(uid), int(gid)); err != nil {
			b.Fatal(err)
		}
	}
	h.run(b, "initdb", "--username=postgres", "--auth=trust", "--pgdata="+h.data(0))
	h.start(b, 0)
	h.copy(b)
	b.Cleanup(func() {
		for i := range 2 {
			h.command("pg_ctl", "stop", "--mode=immediate", "--pgdata="+h.data(i)).Run() // it may not run
		}
	})
	return h
}

func (h *handPair) data(i int) string { return filepath.Join(h.dir, strconv.Itoa(i)) }

func (h *handPair) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(h.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = h.dir, &syscall.SysProcAttr{Credential: h.as}
	return cmd
}

func (h *handPair) run(b *testing.B, program string, args ...string) {
	b.Helper()
	if out, err := h.command(program, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", program, err, out)
	}
}

func (h *handPair) start(b *testing.B, i int) {
	b.Helper()
	settings := []string{"unix_socket_directories=" + h.dir, "port=" + strconv.Itoa(h.ports[i]),
		"listen_addresses=127.0.0.1", "shared_buffers=32MB"}
	h.run(b, "pg_ctl", "start", "--wait", "--silent", "--pgdata="+h.data(i), "--log="+filepath.Join(h.dir, "log"),
		"--options=-c "+strings.Join(settings, " -c "))
}

// copy makes the other one a standby that the primary awaits.
func (h *handPair) copy(b *testing.B) {
	b.Helper()
	other := 1 - h.leads
	if err := os.RemoveAll(h.data(other)); err != nil {
		b.Fatal(err)
	}
	// Whoever was killed there has left it, and its process may not be reaped yet.
	lock := filepath.Join(h.dir, fmt.Sprintf(".s.PGSQL.%d.lock", h.ports[other]))
	if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	h.run(b, "pg_basebackup", "--pgdata="+h.data(other), "--write-recovery-conf", "--checkpoint=fast", "--host=127.0.0.1",
		"--port="+strconv.Itoa(h.ports[h.leads]), "--username=postgres")
	h.awaitNobody(b, other) // once it is promoted
	h.start(b, other)
	address := fmt.Sprintf("postgres:///postgres?host=%s&port=%d&user=postgres", h.dir, h.ports[h.leads])
	conn, err := pgx.Connect(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	opened := client{conn}
	if _, err := opened.Exec(b.Context(), `ALTER SYSTEM SET synchronous_standby_names = '*'`); err != nil {
		b.Fatal(err)
	}
	if _, err := opened.Exec(b.Context(), `SELECT pg_reload_conf()`); err != nil {
		b.Fatal(err)
	}
	for synced := false; !synced; time.Sleep(10 * time.Millisecond) {
		const asked = `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`
		if err := conn.QueryRow(b.Context(), asked).Scan(&synced); err != nil {
			b.Fatal(err)
		}
	}
}

// awaitNobody takes from a copy whom its primary awaited.
func (h *handPair) awaitNobody(b *testing.B, i int) {
	b.Helper()
	file, err := os.OpenFile(filepath.Join(h.data(i), "postgresql.auto.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		b.Fatal(err)
	}
	_, err = file.WriteString("synchronous_standby_names = ''\n")
	if err := errors.Join(err, file.Close()); err != nil {
		b.Fatal(err)
	}
}

// failOver kills the primary and promotes the standby, which awaits nobody.
func (h *handPair) failOver(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(h.data(h.leads), "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(first) // the server has written it
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		b.Fatal(err)
	}
	h.leads = 1 - h.leads
	h.run(b, "pg_ctl", "promote", "--wait", "--silent", "--pgdata="+h.data(h.leads))
	writeBy(b, fmt.Sprintf("postgres:///postgres?host=%s&port=%d&user=postgres", h.dir, h.ports[h.leads]))
	took := time.Since(began)
	h.copy(b)
	return took
}

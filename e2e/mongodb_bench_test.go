package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/testkit"
)

// BenchmarkCreateMongoDB is from the API call to "succeeded" and a first document over TLS, beside what one would do by
// hand: initdb, a start, CREATE EXTENSION, and one FerretDB without TLS. Idle, an instance may hold twice that one's
// memory: its rights take a second FerretDB, and its TLS a front.
func BenchmarkCreateMongoDB(b *testing.B) {
	l := house(b, mongodbBreed(b))
	l.resident("warm").create()
	var ours, manual []time.Duration
	var held, bare float64
	for i := range max(b.N, 3) {
		other := mongodbByHand(b)
		manual, bare = append(manual, other.took), megabytesOf(b, other.mark)
		other.stop()
		r := l.resident(fmt.Sprintf("service-%d", i))
		begun := time.Now()
		r.create()
		r.bind()
		if err := r.begin().Keep(b.Context()); err != nil {
			b.Fatal(err)
		}
		ours, held = append(ours, time.Since(begun)), megabytesOf(b, r.instance)
	}
	b.ReportMetric(held, "MB")
	b.ReportMetric(bare, "baseline-MB")
	b.ReportMetric(2*bare, "MB-allowed")
	report(b, median(ours), median(manual), 0.6)
}

// byHandServer is one that was set up by hand. Its mark stands in the command lines of all of its processes.
type byHandServer struct {
	mark string
	took time.Duration
	stop func()
}

func mongodbByHand(b *testing.B) byHandServer {
	b.Helper()
	root := filepath.Join(os.Getenv(mongodbVariable), "usr")
	dir, account := testkit.Dir(b), postgresAccount(b)
	if account != nil {
		if err := os.Chown(dir, int(account.Uid), int(account.Gid)); err != nil {
			b.Fatal(err)
		}
	}
	as := func(program string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(root, program), args...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: account}
		return cmd
	}
	run := func(program string, args ...string) {
		if out, err := as("lib/postgresql/18/bin/"+program, args...).CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	s := byHandServer{mark: filepath.Base(dir)}
	data, begun := filepath.Join(dir, "data"), time.Now()
	run("initdb", "-D", data)
	run("pg_ctl", "-D", data, "-l", filepath.Join(dir, "log"), "-w", "start", "-o", "-c listen_addresses='' -k "+dir+
		" -c cluster_name="+s.mark+" -c shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb"+
		" -c cron.database_name=postgres")
	run("psql", "-h", dir, "-c", "CREATE EXTENSION documentdb CASCADE", "postgres")
	socket := filepath.Join(dir, "ferretdb.sock")
	gateway := as("bin/ferretdb", "--postgresql-url=postgres:///postgres?host="+dir, "--listen-addr=",
		"--listen-unix="+socket, "--debug-addr=-", "--telemetry=disable", "--state-dir="+dir, "--log-level=ERROR")
	if err := gateway.Start(); err != nil {
		b.Fatal(err)
	}
	s.stop = func() {
		err := errors.Join(gateway.Process.Kill(), gateway.Wait())
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			b.Error(err)
		}
		run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
	}
	for deadline := begun.Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			s.took = time.Since(begun)
			return s
		}
	}
	s.stop()
	b.Fatal("FerretDB does not listen")
	return s
}

var proportional = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// megabytesOf is what the processes hold whose command lines have one of the marks in them. What several share counts
// once.
func megabytesOf(b *testing.B, marks ...string) (total float64) {
	b.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		isOne := func(mark string) bool { return bytes.Contains(text, []byte(mark)) }
		if err != nil || !slices.ContainsFunc(marks, isOne) {
			continue // it has ended, or is another one
		}
		held, err := os.ReadFile(filepath.Join(filepath.Dir(path), "smaps_rollup"))
		if match := proportional.FindSubmatch(held); err == nil && match != nil {
			kilobytes, _ := strconv.Atoi(string(match[1]))
			total += float64(kilobytes) / 1024
		}
	}
	return total
}

package e2e

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
	createBeside(b, l, mongodbByHand, func(r *life) []string { return []string{r.instance} }, 2, 0.6)
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

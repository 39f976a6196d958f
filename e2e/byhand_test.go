package e2e

import (
	"fmt"
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

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/internal/testkit"
)

// byHand is a server that was set up without us.
type byHand struct {
	took time.Duration // from nothing to its first answer
	pid  int           // of its main process
	stop func()
}

// clusterByHand makes a cluster with a database in it as the manual says.
func clusterByHand(b *testing.B) byHand {
	b.Helper()
	dir := testkit.Dir(b)
	account := postgresAccount(b)
	if account != nil {
		if err := os.Chown(dir, int(account.Uid), int(account.Gid)); err != nil {
			b.Fatal(err)
		}
	}
	run := func(program string, args ...string) {
		cmd := exec.Command(programs+program, args...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: account}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	data := filepath.Join(dir, "data")
	begun := time.Now()
	run("initdb", "-D", data)
	run("pg_ctl", "-D", data, "-l", filepath.Join(dir, "log"), "-o", "-c listen_addresses='' -k "+dir, "-w", "start")
	run("createdb", "-h", dir, "main")
	took := time.Since(begun)
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	if err != nil {
		b.Fatal(err)
	}
	return byHand{took, pid, func() { run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop") }}
}

// postgresAccount is who runs the servers of the distribution, if we are root; PostgreSQL refuses root.
func postgresAccount(b *testing.B) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		b.Fatal(err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// redisByHand starts a server without any configuration.
func redisByHand(b *testing.B) byHand {
	b.Helper()
	socket := filepath.Join(testkit.Dir(b), "s")
	begun := time.Now()
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "")
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	defer c.Close()
	for c.Ping(b.Context()).Err() != nil {
		if time.Since(begun) > patience {
			b.Fatal("redis-server does not answer")
		}
		time.Sleep(time.Millisecond)
	}
	return byHand{time.Since(begun), server.Process.Pid, func() { end(server) }}
}

// end ends a server of which nothing is to be kept.
func end(server *exec.Cmd) {
	server.Process.Kill()
	server.Wait()
}

// mariadbByHand installs a server's data and starts it.
func mariadbByHand(b *testing.B) byHand {
	b.Helper()
	dir := testkit.Dir(b)
	socket := filepath.Join(dir, "s")
	begun := time.Now()
	install := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+dir+"/data",
		"--skip-test-db", "--auth-root-authentication-method=socket")
	if out, err := install.CombinedOutput(); err != nil {
		b.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	server := exec.Command("/usr/sbin/mariadbd", "--no-defaults", "--user=root", "--datadir="+dir+"/data",
		"--socket="+socket, "--skip-networking")
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	for exec.Command("mariadb", "--no-defaults", "--socket="+socket, "-e", "SELECT 1").Run() != nil {
		if time.Since(begun) > patience {
			b.Fatal("mariadbd does not answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return byHand{time.Since(begun), server.Process.Pid, func() { end(server) }}
}

// sessionMemory is what a server's main process and those it has begun hold, in MB.
func sessionMemory(b *testing.B, pid int) (megabytes float64) {
	b.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest) // from the third, the state (proc_pid_stat(5))
		if err != nil || filepath.Base(filepath.Dir(stat)) != fmt.Sprint(pid) && fields[1] != fmt.Sprint(pid) {
			continue
		}
		rollup, err := os.ReadFile(filepath.Join(filepath.Dir(stat), "smaps_rollup"))
		if err != nil { // it has ended
			continue
		}
		match := regexp.MustCompile(`(?m)^Pss: +(\d+) kB$`).FindSubmatch(rollup)
		kilobytes, err := strconv.Atoi(string(match[1]))
		if err != nil {
			b.Fatal(err)
		}
		megabytes += float64(kilobytes) / 1024
	}
	return megabytes
}

package keeper_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// load is a program that keeps an instance busy.
type load struct {
	prepare, run []string
	password     string // the variable of the environment that it reads the password from
}

func loadOf(p product, c backstay.Credentials) load {
	host, port, user := fmt.Sprint(c["host"]), fmt.Sprint(c["port"]), fmt.Sprint(c["username"])
	switch p.engine {
	case "postgres":
		at := []string{"-h", host, "-p", port, "-U", user, "main"}
		bench := "/usr/lib/postgresql/15/bin/pgbench"
		return load{append([]string{bench, "-i", "-q", "-s", "3"}, at...),
			append([]string{bench, "-n", "-c", "2", "-T", "600"}, at...), "PGPASSWORD"}
	case "mysql":
		at := []string{"--no-defaults", "-h", host, "-P", port, "-u", user, "--protocol=tcp", "--ssl"}
		schema := fmt.Sprint(c["name"])
		return load{
			slices.Concat([]string{"mariadb"}, at, []string{"-e", "CREATE TABLE slap (n integer)", schema}),
			slices.Concat([]string{"mysqlslap"}, at, []string{"--create-schema=" + schema, "--no-drop", "--concurrency=2",
				"--query=INSERT INTO slap VALUES (1)", "--number-of-queries=1000000"}), "MYSQL_PWD",
		}
	}
	return load{[]string{"true"}, []string{"redis-benchmark", "-h", host, "-p", port, "--user", user, "-a",
		c["password"].(string), "--tls", "--insecure", "-c", "2", "-n", "100000000", "-t", "set", "-r", "10000", "-q"}, "NONE"}
}

// keepBusy runs the load, again whenever it ends, until the benchmark is over. ended counts how often that was, and the
// first reason is logged if quiet is not asked for.
func keepBusy(b *testing.B, p product, c backstay.Credentials, quiet bool) (ended *atomic.Int64) {
	b.Helper()
	l := loadOf(p, c)
	command := func(ctx context.Context, args []string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), l.password+"="+c["password"].(string), "PGSSLMODE=require")
		return cmd
	}
	if out, err := command(b.Context(), l.prepare).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", l.prepare[0], err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	ended = &atomic.Int64{}
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			out, err := command(ctx, l.run).CombinedOutput()
			if ctx.Err() == nil {
				if ended.Add(1) == 1 && !quiet {
					b.Logf("%s ends: %v, %s", l.run[0], err, out[max(0, len(out)-200):])
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}()
	b.Cleanup(func() { cancel(); <-over })
	time.Sleep(time.Second) // until it is busy
	return ended
}

// silent is the configuration of a keeper whose log does not stand between the measurements.
func silent(b *testing.B) keeper.Config {
	c := everything(b)
	c.Log = slog.New(slog.DiscardHandler)
	return c
}

// BenchmarkChangeWithoutARestart gives instances under load another size, where the engine takes that over while it
// runs. No write may fail, and no connection may drop: neither the prober's nor the load's. The longest wait between two
// of the prober's writes stands beside that of as long a time in which nothing is changed.
func BenchmarkChangeWithoutARestart(b *testing.B) {
	for _, p := range products {
		b.Run(p.engine, func(b *testing.B) {
			its, _ := keepertest.Run(b, silent(b))
			spec := specOf(b, p)
			mustReach(b, its, spec)
			c := mustCredentials(b, its, spec.Instance)
			ended := keepBusy(b, p, c, false)
			sizes := []backstay.Size{spec.Size, larger(p, spec.Size)}
			var total outcome
			var changed, undisturbed []time.Duration
			for i := range max(b.N, 6) {
				seen := during(b, p, c, func() {
					spec.Generation, spec.Size = spec.Generation+1, sizes[(i+1)%2]
					mustReach(b, its, spec)
				})
				total.failed, total.refused = total.failed+seen.failed, total.refused+seen.refused
				changed = append(changed, seen.longest)
				undisturbed = append(undisturbed, during(b, p, c, func() {}).longest)
			}
			if total.failed+total.refused > 0 || ended.Load() > 0 {
				b.Errorf("a client noticed: %+v, and the load ended %d times", total, ended.Load())
			}
			b.ReportMetric(float64(total.failed+total.refused), "failed-writes")
			b.ReportMetric(float64(ended.Load()), "dropped-connections")
			report(b, middle(changed), middle(undisturbed))
		})
	}
}

// larger is a size that the engine takes over while it runs.
func larger(p product, s backstay.Size) backstay.Size {
	s.Storage *= 2
	if p.engine != "postgres" {
		s.Memory, s.Connections = 4*s.Memory, 4*s.Connections
	}
	return s
}

// during is what a client sees while something is done, and a moment before and after.
func during(b *testing.B, p product, c backstay.Credentials, do func()) outcome {
	b.Helper()
	stop := probe(b, p, c)
	time.Sleep(300 * time.Millisecond)
	do()
	time.Sleep(300 * time.Millisecond)
	return stop()
}

// BenchmarkRestart restarts instances under load, and those of PostgreSQL by another size too, beside a bare restart: the
// same server is ended and started with the same data by whoever does nothing else. What is measured is how long a client
// could not write.
func BenchmarkRestart(b *testing.B) {
	for _, p := range products {
		b.Run(p.engine+"/asked", func(b *testing.B) {
			benchmarkRestart(b, p, func(spec *backend.Spec) { spec.Restarts++ })
		})
	}
	b.Run("postgres/size", func(b *testing.B) {
		small, large := true, 4*newSpec(b).Size.Memory
		benchmarkRestart(b, products[0], func(spec *backend.Spec) {
			if spec.Size.Memory = large; !small {
				spec.Size.Memory = large / 4
			}
			small = !small
		})
	})
}

func benchmarkRestart(b *testing.B, p product, change func(*backend.Spec)) {
	its, stop := keepertest.Run(b, silent(b))
	spec := specOf(b, p)
	mustReach(b, its, spec)
	c := mustCredentials(b, its, spec.Instance)
	keepBusy(b, p, c, true)
	var ours, bare []time.Duration
	for range max(b.N, 5) {
		ours = append(ours, during(b, p, c, func() {
			change(&spec)
			spec.Generation++
			mustReach(b, its, spec)
		}).longest)
		time.Sleep(time.Second) // the load comes back
	}
	byHand := takeOver(b, p, its, spec, stop)
	for range max(b.N, 5) {
		bare = append(bare, during(b, p, c, byHand).longest)
		time.Sleep(time.Second)
	}
	report(b, middle(ours), middle(bare))
	b.ReportMetric(2, "ratio-allowed")
}

// takeOver ends the keeper, and returns how its engine is restarted by hand. It is ended with the benchmark.
func takeOver(b *testing.B, p product, its *local.Backend, spec backend.Spec, stop func()) (restart func()) {
	b.Helper()
	pid := mustPID(b, its, spec.Instance)
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		b.Fatal(err)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		b.Fatal(err)
	}
	owner, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		b.Fatal(err)
	}
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		b.Fatal(err)
	}
	if p.engine == "redis" {
		dir = filepath.Dir(dir) // it has changed to its data directory
	}
	stop()
	args := programOf(string(cmdline), pid)
	end := func() { endByHand(b, p, pid) }
	b.Cleanup(func() { end() })
	return func() {
		end()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if stat := owner.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		pid = cmd.Process.Pid
		go cmd.Wait()
	}
}

// programOf is the command line of a process. Redis writes over its own.
func programOf(cmdline string, pid int) []string {
	args := strings.Split(strings.TrimSuffix(cmdline, "\x00"), "\x00")
	program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if !strings.Contains(program, "redis") {
		return args
	}
	dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return []string{"/usr/bin/redis-server", filepath.Join(dir, "redis.conf")}
}

func endByHand(b *testing.B, p product, pid int) {
	running, err := process.Open(pid)
	if err != nil {
		b.Error(err)
		return
	}
	defer running.Close()
	signal := syscall.SIGTERM
	if p.engine == "postgres" {
		signal = syscall.SIGINT
	}
	if err := running.Signal(signal); err != nil {
		b.Error(err)
	}
	<-running.Done()
}

func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// report prints a measurement beside its baseline.
func report(b *testing.B, is, baseline time.Duration) {
	b.ReportMetric(0, "ns/op") // says nothing here
	b.ReportMetric(float64(is.Microseconds())/1000, "ms")
	b.ReportMetric(float64(baseline.Microseconds())/1000, "baseline-ms")
	b.ReportMetric(float64(is)/float64(baseline), "ratio")
}

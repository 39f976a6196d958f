package keeper_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// worst are scripts of pgbench by which sessions of one instance do what is worst for the others.
var worst = []struct {
	name, script string
	clients      int
}{
	{"processor", `SELECT count(*) FROM generate_series(1, 20000000) n WHERE n % 7 = 3;`, 16},
	{"scans", `SELECT count(*), sum(length(filler)) FROM pgbench_accounts;`, 16},
	{"temporary files", `SELECT max(n) FROM (SELECT n FROM generate_series(1, 3000000) n ORDER BY n % 1000, n DESC OFFSET 10) s;`, 8},
	{"writes", `CREATE TEMP TABLE w AS SELECT n, repeat('x', 500) FROM generate_series(1, 200000) n; DROP TABLE w;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 10 = 3;`, 8},
}

// BenchmarkNeighbour is pgbench on one instance while another one of the same plan does its worst. Its share is half of
// what it has alone, which is measured in between. Beside it stands the same without limits.
func BenchmarkNeighbour(b *testing.B) {
	for _, w := range worst {
		b.Run(w.name, func(b *testing.B) {
			limited := partOfShare(b, w.script, w.clients, false)
			b.ReportMetric(0, "ns/op") // says nothing here
			b.ReportMetric(limited, "of-its-share")
			b.ReportMetric(0.7, "wanted-at-least")
			b.ReportMetric(partOfShare(b, w.script, w.clients, true), "without-limits")
		})
	}
}

// partOfShare is how much of its share an instance has, where 1 is all of it.
func partOfShare(b *testing.B, script string, clients int, unlimited bool) float64 {
	b.Helper()
	c := keepertest.Config(b, 2)
	c.NoLimits = unlimited
	if !unlimited {
		groupsOf(b, c)
	}
	its, stop := keepertest.Run(b, c)
	defer func() {
		stop()
		if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
			b.Error(err)
		}
	}()
	var credentials []backstay.Credentials
	for range 2 {
		spec := newSpec(b)
		spec.Size = backstay.Size{Storage: 5 * backstay.GB, Memory: 512 * backstay.MB, Connections: 50}
		mustReach(b, its, spec)
		c := mustCredentials(b, its, spec.Instance)
		mustPgbench(b, c, "-i", "-q", "-s", "10")
		credentials = append(credentials, c)
	}
	measure := func() float64 { return rateOf(b, mustPgbench(b, credentials[0], "-n", "-c", "4", "-T", "3")) }
	alone, beside := measure(), 0.0
	for range pairs {
		end := doWorst(b, credentials[1], script, clients)
		beside += measure()
		end()
		alone += measure()
	}
	alone, beside = alone/(pairs+1), beside/pairs
	b.Logf("without limits: %t; alone %.0f, beside the other %.0f transactions per second", unlimited, alone, beside)
	return beside / (alone / 2)
}

// pairs is how often is measured beside the other: other work on the machine is to change both numbers alike.
const pairs = 2

// doWorst runs the script in many sessions at once, again and again, until end is called.
func doWorst(b *testing.B, c backstay.Credentials, script string, clients int) (end func()) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "worst.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			out, err := pgbench(ctx, c, "-n", "-c", fmt.Sprint(clients), "-T", "600", "-f", file).CombinedOutput()
			if ctx.Err() == nil {
				b.Logf("the other one was stopped: %v, %s", err, out[max(0, len(out)-200):])
			}
		}
	}()
	time.Sleep(2 * time.Second) // until it is busy
	return func() { cancel(); <-over }
}

func pgbench(ctx context.Context, c backstay.Credentials, args ...string) *exec.Cmd {
	args = append(args, "-h", fmt.Sprint(c["host"]), "-p", fmt.Sprint(c["port"]), "-U", fmt.Sprint(c["username"]), "main")
	cmd := exec.CommandContext(ctx, "/usr/lib/postgresql/15/bin/pgbench", args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+c["password"].(string), "PGSSLMODE=require")
	return cmd
}

func mustPgbench(t testing.TB, c backstay.Credentials, args ...string) (out []byte) {
	t.Helper()
	out, err := pgbench(t.Context(), c, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("pgbench: %v\n%s", err, out)
	}
	return out
}

var rateText = regexp.MustCompile(`tps = ([0-9.]+)`)

func rateOf(t testing.TB, out []byte) float64 {
	t.Helper()
	found := rateText.FindSubmatch(out)
	if found == nil {
		t.Fatalf("pgbench says nothing of its speed: %s", out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

// TestBusyEngineIsNotKilled: an instance whose clients hold all connections, and work on each as pgbench does, stays
// within its memory.
func TestBusyEngineIsNotKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes what fills the memory of a small plan")
	}
	c := keepertest.Config(t, 1)
	groups := groupsOf(t, c)
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Size = backstay.Size{Storage: 5 * backstay.GB, Memory: 512 * backstay.MB, Connections: 50}
	mustReach(t, b, spec)
	credentials := mustCredentials(t, b, spec.Instance)
	mustPgbench(t, credentials, "-i", "-q", "-s", "10")
	mustPgbench(t, credentials, "-n", "-c", "49", "-t", "20")
	seen := groups.Look(string(spec.Instance))
	t.Logf("of %v it uses %v, with the files in memory", seen.Limit, seen.Memory)
	if seen.Killed > 0 || hasTrouble(t, b, spec.Instance, "memory") != "" {
		t.Errorf("it was killed: %+v", seen)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running })
}

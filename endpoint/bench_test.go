package endpoint_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/process"
)

// BenchmarkFront is pgbench over TLS through a front, beside the same with PostgreSQL's own port, in turns. Of its own
// transaction, 0.85 of the throughput is asked on a quiet machine. Who has a front has a standby that commits wait for;
// a node alone shows what the front itself takes.
func BenchmarkFront(b *testing.B) {
	for _, load := range []struct {
		name  string
		serve func(*testing.B) engine.Node
		args  []string
	}{
		{"writes", servePair, []string{"--client=8", "--time=4"}}, // pgbench's own transaction
		{"writes-of-1", servePair, []string{"--client=1", "--time=4"}},
		{"writes-alone", serveNode, []string{"--client=8", "--time=4"}},
		{"reads", servePair, []string{"--client=8", "--time=4", "--select-only", "--protocol=prepared"}},
		{"reads-of-1", servePair, []string{"--client=1", "--time=4", "--select-only", "--protocol=prepared"}},
	} {
		b.Run(load.name, func(b *testing.B) {
			n := load.serve(b)
			c, err := postgres.Engine{}.CreateUser(b.Context(), n, engine.User{Name: "bench", Password: "not-so-secret-1"})
			must(b, err)
			f := newFront(b)
			p := ensure(b, f)
			must(b, f.Client().Switch(b.Context(), netip.MustParseAddrPort(fmt.Sprint("127.0.0.1:", n.Endpoint.Port))))
			idle := memory(b, p, "RssAnon")
			pgbench(b, n, c, n.Endpoint.Port, "--initialize", "--quiet", "--scale=10")
			var ratios []float64
			var direct, through, took, count float64
			for range 5 {
				before, _ := pgbench(b, n, c, n.Endpoint.Port, load.args...)
				began := processor(b, p)
				is, transactions := pgbench(b, n, c, int(f.Listen[0].Port()), load.args...)
				took, count = took+(processor(b, p)-began).Seconds(), count+transactions
				after, _ := pgbench(b, n, c, n.Endpoint.Port, load.args...)
				direct, through = direct+(before+after)/2, through+is
				ratios = append(ratios, is/((before+after)/2))
			}
			slices.Sort(ratios)
			b.ReportMetric(0, "ns/op") // says nothing here
			b.ReportMetric(through/5, "tps")
			b.ReportMetric(direct/5, "baseline-tps")
			b.ReportMetric(ratios[2], "ratio")
			b.ReportMetric(0.85, "ratio-asked")
			b.ReportMetric(took/count*1e6, "µs-of-front/tx")
			b.ReportMetric(float64(idle), "MB-idle")
		})
	}
}

// servePair starts a PostgreSQL whose commits wait for a standby.
func servePair(b *testing.B) engine.Node {
	b.Helper()
	p := enginetest.NewPair(b, postgres.Engine{}, "")
	p.Protect(b)
	return p.Primary()
}

// serveNode starts a PostgreSQL that nobody follows.
func serveNode(b *testing.B) engine.Node {
	b.Helper()
	e := postgres.Engine{}
	n := enginetest.NewNode(b, e)
	n.Size = backstay.Size{Storage: 10 * backstay.GB, Memory: backstay.GB, Connections: 50}
	enginetest.Serve(b, e, n)
	return n
}

var (
	throughput = regexp.MustCompile(`tps = ([0-9.]+)`)
	processed  = regexp.MustCompile(`actually processed: ([0-9]+)`)
)

func pgbench(b *testing.B, n engine.Node, c backstay.Credentials, port int, args ...string) (tps, count float64) {
	b.Helper()
	args = append([]string{"--host=127.0.0.1", "--port=" + strconv.Itoa(port), "--no-vacuum",
		"--username=" + fmt.Sprint(c["username"])}, args...)
	if slices.Contains(args, "--initialize") {
		args = slices.DeleteFunc(args, func(a string) bool { return a == "--no-vacuum" })
	}
	cmd := exec.CommandContext(b.Context(), filepath.Join(n.Installation.Dir, "pgbench"), append(args, "main")...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+fmt.Sprint(c["password"]), "PGSSLMODE=require")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	number := func(in *regexp.Regexp) (value float64) {
		if match := in.FindSubmatch(out); match != nil {
			value, _ = strconv.ParseFloat(string(match[1]), 64) // it is a number
		}
		return value
	}
	return number(throughput), number(processed)
}

// processor is how long a process has used processors.
func processor(b *testing.B, p *process.Process) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	must(b, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	must(b, cmp.Or(err1, err2))
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkSwitchover is from telling a front another target until a client that waits is served.
func BenchmarkSwitchover(b *testing.B) {
	old, next := newTarget(b, "old"), newTarget(b, "next")
	f, _ := serving(b, old)
	var held []time.Duration
	for range max(b.N, 20) {
		front := f.Client()
		must(b, front.Switch(b.Context(), old.at))
		must(b, front.Hold(b.Context()))
		c := dial(b, f)
		await(b, f, "one that waits", func(s endpoint.Status) bool { return s.Waiting == 1 })
		must(b, front.Cut(b.Context(), old.at))
		must(b, front.Switch(b.Context(), next.at))
		begun := time.Now()
		must(b, front.Release(b.Context()))
		must(b, c.hear(10*time.Second))
		held = append(held, time.Since(begun))
		c.Close()
	}
	slices.Sort(held)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(held[len(held)/2].Microseconds())/1000, "ms")
}

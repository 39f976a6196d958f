package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

const programs = "/usr/lib/postgresql/15/bin/"

// house is a platform with a space in it to measure in.
func house(b *testing.B, of breed, flags ...string) *life {
	b.Helper()
	w := &ward{breed: of, platform: start(b, "backstay", append(of.flags, flags...)...)}
	l := &life{ward: w, t: b, name: "bench"}
	w.space, w.app = l.settle()
	return l
}

// resident is another instance's life in the same space.
func (l *life) resident(name string) *life { return &life{ward: l.ward, t: l.t, name: name} }

func median(durations []time.Duration) time.Duration {
	slices.Sort(durations)
	return durations[len(durations)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report prints a measurement beside its baseline, and how much of it is allowed.
func report(b *testing.B, is, baseline time.Duration, limit float64) {
	b.ReportMetric(0, "ns/op") // says nothing here
	b.ReportMetric(milliseconds(is), "ms")
	b.ReportMetric(milliseconds(baseline), "baseline-ms")
	b.ReportMetric(float64(is)/float64(baseline), "ratio")
	b.ReportMetric(limit, "ratio-allowed")
}

// BenchmarkCreateService is from the API call to "succeeded" and a first query over TLS, beside what
// one would do by hand: initdb, pg_ctl start, createdb.
func BenchmarkCreateService(b *testing.B) {
	l := house(b, postgresBreed)
	l.resident("warm").create()
	var ours, manual []time.Duration
	for i := range max(b.N, 7) {
		other := clusterByHand(b)
		other.stop()
		manual = append(manual, other.took)
		r := l.resident(fmt.Sprintf("service-%d", i))
		begun := time.Now()
		r.create()
		r.bind()
		if _, err := r.connect().Exec(b.Context(), "SELECT 1"); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begun))
	}
	report(b, median(ours), median(manual), 0.6)
}

// BenchmarkBind is from the API call to credentials, beside CREATE ROLE over an open connection. It
// may take three of those and 10 ms.
func BenchmarkBind(b *testing.B) {
	l := house(b, postgresBreed)
	r := l.resident("bound")
	r.create()
	admin := l.admin(b, r.instance)
	var ours, bare []time.Duration
	for i := range max(b.N, 30) {
		begun := time.Now()
		if _, err := admin.Exec(b.Context(), fmt.Sprintf("CREATE ROLE bare_%d LOGIN PASSWORD 'secret'", i)); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(begun))
		app := l.make(fmt.Sprintf("/v3/apps?names=app-%d", i), "/v3/apps",
			object{"name": fmt.Sprintf("app-%d", i), "relationships": object{"space": to(l.space)}})
		begun = time.Now()
		status, _, err := l.call("POST", "/v3/service_credential_bindings",
			object{"type": "app", "relationships": object{"app": to(app), "service_instance": to(r.instance)}}, nil)
		if err != nil || status != 201 {
			b.Fatalf("bind: %d %v", status, err)
		}
		ours = append(ours, time.Since(begun))
	}
	is, baseline := median(ours), median(bare)
	report(b, is, baseline, float64(3*baseline+10*time.Millisecond)/float64(baseline))
}

// admin is a connection to an instance as its administrator.
func (l *life) admin(b *testing.B, instance string) *pgx.Conn {
	b.Helper()
	pid, err := os.ReadFile(filepath.Join(l.data, "instances", instance, "data", "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	lines := strings.Split(string(pid), "\n") // pid, directory, start time, port, socket directory
	port, err := strconv.Atoi(lines[3])
	if err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), postgres.AdminDSN(lines[4], port))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close(b.Context()) })
	return conn
}

// BenchmarkManyServices creates fifty at once, beside one after the other, and weighs the control
// plane and the keeper when a hundred are there.
func BenchmarkManyServices(b *testing.B) {
	first, last := testkit.Ports(b, 130)
	l := house(b, postgresBreed, "--ports", fmt.Sprintf("%d-%d", first, last))
	var alone []time.Duration
	for i := range 5 {
		begun := time.Now()
		l.resident(fmt.Sprintf("alone-%d", i)).create()
		alone = append(alone, time.Since(begun))
	}
	slowest := l.createAtOnce(50, "first")
	l.createAtOnce(45, "second")
	b.ReportMetric(l.memory(b), "MB-at-100")
	b.ReportMetric(150, "MB-allowed")
	report(b, slowest, 50*median(alone), 1)
}

// createAtOnce returns how long the slowest took.
func (l *life) createAtOnce(count int, name string) time.Duration {
	var all sync.WaitGroup
	took := make([]time.Duration, count)
	for i := range count {
		all.Go(func() {
			r := l.resident(fmt.Sprintf("%s-%d", name, i))
			r.pause = 100 * time.Millisecond // fifty who look all the time would be what is measured
			begun := time.Now()
			r.create()
			took[i] = time.Since(begun)
		})
	}
	all.Wait()
	return slices.Max(took)
}

// memory is what the control plane and the keeper hold together, in MB.
func (l *life) memory(b *testing.B) float64 {
	total := 0.0
	for _, pid := range []int{l.serve.Process.Pid, l.keeperPID()} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			b.Fatal(err)
		}
		match := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
		kilobytes, err := strconv.Atoi(string(match[1]))
		if err != nil {
			b.Fatal(err)
		}
		total += float64(kilobytes) / 1024
	}
	return total
}

// BenchmarkList reads a page of 50 instances when 10,000 are recorded, beside 100. It may take twice
// as long, and 20 ms.
func BenchmarkList(b *testing.B) {
	l := house(b, postgresBreed)
	l.resident("listed").create()
	state := l.state(b)
	few := l.listOf(b, state, 100)
	many := l.listOf(b, state, 10_000)
	b.ReportMetric(20, "ms-allowed")
	report(b, many, few, 2)
}

// state is a connection to the control plane's own database.
func (l *life) state(b *testing.B) *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), postgres.AdminDSN(filepath.Join(l.data, "run", "state"), 0))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close(b.Context()) })
	return conn
}

const copyInstances = `INSERT INTO market.instances (id, space_id, plan_id, name, tags, op_type, op_state, op_description)
	SELECT gen_random_uuid()::text, one.space_id, one.plan_id, 'copy-' || $1 || '-' || n, one.tags, one.op_type, one.op_state, one.op_description
	FROM (SELECT * FROM market.instances ORDER BY created_at LIMIT 1) one,
		generate_series(1, $1::integer - (SELECT count(*) FROM market.instances)::integer) n`

// listOf records copies of the one instance until there are count, and returns the median of reading
// a page.
func (l *life) listOf(b *testing.B, state *pgx.Conn, count int) time.Duration {
	b.Helper()
	if _, err := state.Exec(b.Context(), copyInstances, count); err != nil {
		b.Fatal(err)
	}
	// What the server does by itself within a minute, and long before ten thousand are made one by one.
	if _, err := state.Exec(b.Context(), "VACUUM ANALYZE market.instances"); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for range 50 {
		var page struct {
			Pagination struct {
				Total int `json:"total_results"`
			}
			Resources []struct{ GUID string }
		}
		begun := time.Now()
		if _, _, err := l.call("GET", "/v3/service_instances?per_page=50", nil, &page); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
		if page.Pagination.Total != count || len(page.Resources) != 50 {
			b.Fatalf("%d of %d instances, want 50 of %d", len(page.Resources), page.Pagination.Total, count)
		}
	}
	return median(took)
}

// BenchmarkEndpoint is pgbench through the endpoint that credentials name, beside the address that the
// server itself says it listens on.
func BenchmarkEndpoint(b *testing.B) {
	l := house(b, postgresBreed)
	r := l.resident("queried")
	r.create()
	r.bind()
	var port string
	if err := l.admin(b, r.instance).QueryRow(b.Context(), "SHOW port").Scan(&port); err != nil {
		b.Fatal(err)
	}
	endpoint := fmt.Sprint(r.credentials["port"])
	r.pgbench(endpoint, "-i", "-q")
	var through, direct []time.Duration
	for range 5 {
		through = append(through, r.perTransaction(endpoint))
		direct = append(direct, r.perTransaction(port))
	}
	report(b, median(through), median(direct), 1/0.97)
}

func (l *life) perTransaction(port string) time.Duration {
	out := l.pgbench(port, "-S", "-c", "2", "-j", "2", "-T", "2")
	match := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if match == nil {
		l.t.Fatalf("pgbench says nothing of its speed: %s", out)
	}
	perSecond, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		l.t.Fatal(err)
	}
	return time.Duration(float64(time.Second) / perSecond)
}

func (l *life) pgbench(port string, args ...string) []byte {
	cmd := exec.Command(
		programs+"pgbench",
		append(args, "-h", l.credentials["host"].(string), "-p", port, "-U", l.credentials["username"].(string), "main")...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+l.credentials["password"].(string), "PGSSLMODE=require")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("pgbench: %v\n%s", err, &said)
	}
	return out
}

// BenchmarkCreateRedis is from the API call to "succeeded", which the server's PONG precedes, beside a
// bare redis-server from its start to its first PONG. It may take three of those and 50 ms. With a
// binding, and a PONG over TLS by its credentials, it takes longer: that is said too.
func BenchmarkCreateRedis(b *testing.B) {
	l := house(b, redisBreed)
	var created, bound, bare []time.Duration
	for i := range max(b.N, 7) {
		other := redisByHand(b)
		other.stop()
		bare = append(bare, other.took)
		r := l.resident(fmt.Sprintf("service-%d", i))
		begun := time.Now()
		r.create()
		created = append(created, time.Since(begun))
		r.bind()
		r.begin().Close()
		bound = append(bound, time.Since(begun))
	}
	baseline := median(bare)
	b.ReportMetric(milliseconds(median(bound)), "bound-ms")
	report(b, median(created), baseline, float64(3*baseline+50*time.Millisecond)/float64(baseline))
}

// BenchmarkCreateMySQL is from the API call to "succeeded" and a first query over TLS, beside what one
// would do by hand: mariadb-install-db, and mariadbd to its first query.
func BenchmarkCreateMySQL(b *testing.B) {
	l := house(b, mysqlBreed)
	l.resident("warm").create()
	var ours, manual []time.Duration
	for i := range max(b.N, 7) {
		other := mariadbByHand(b)
		other.stop()
		manual = append(manual, other.took)
		r := l.resident(fmt.Sprintf("service-%d", i))
		begun := time.Now()
		r.create()
		r.bind()
		r.begin().Close()
		ours = append(ours, time.Since(begun))
	}
	report(b, median(ours), median(manual), 0.6)
}

// BenchmarkIdleMemory is what an engine holds for an instance of its smallest plan that was used once
// and is left alone, beside a server that nobody tuned. What processes share is counted once.
func BenchmarkIdleMemory(b *testing.B) {
	for _, tc := range []struct {
		of     breed
		byHand func(*testing.B) byHand
	}{{postgresBreed, clusterByHand}, {mysqlBreed, mariadbByHand}, {redisBreed, redisByHand}} {
		b.Run(tc.of.name, func(b *testing.B) {
			other := tc.byHand(b)
			defer other.stop()
			l := house(b, tc.of)
			l.create()
			l.bind()
			l.begin().Close()
			time.Sleep(time.Second) // what is freed when a session ends is given back by then
			is, untuned := sessionMemory(b, l.enginePID()), sessionMemory(b, other.pid)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(is, "MB")
			b.ReportMetric(untuned, "baseline-MB")
			b.ReportMetric(is/untuned, "ratio")
		})
	}
}

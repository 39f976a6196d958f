package keeper_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// onEachProduct runs a test with an instance of each engine that serves.
func onEachProduct(t *testing.T, test func(t *testing.T, p product, b *local.Backend, spec backend.Spec)) {
	t.Parallel()
	c := everything(t)
	b, _ := keepertest.Run(t, c)
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			spec := specOf(t, p)
			mustReach(t, b, spec)
			test(t, p, b, spec)
		})
	}
}

// everything is the configuration of a keeper with all engines.
func everything(t testing.TB) keeper.Config {
	t.Helper()
	c := keepertest.Config(t, len(products))
	c.Engines["mysql"], c.Engines["redis"] = mysql.Engine{}, redis.Engine{}
	return c
}

// TestChangesOfSize makes an instance larger and smaller while a client writes. Where a restart is needed there is one;
// elsewhere the client notices nothing.
func TestChangesOfSize(t *testing.T) {
	onEachProduct(t, func(t *testing.T, p product, b *local.Backend, spec backend.Spec) {
		small := spec.Size
		for _, tc := range []struct {
			what     string
			size     backstay.Size
			restarts bool
		}{
			{"more storage", backstay.Size{Storage: 3 * small.Storage, Memory: small.Memory, Connections: small.Connections}, false},
			{"all of it", backstay.Size{Storage: 3 * small.Storage, Memory: 4 * small.Memory, Connections: 90}, p.engine == "postgres"},
			{"less again", small, p.engine == "postgres"},
		} {
			pid := mustPID(t, b, spec.Instance)
			stop := probe(t, p, mustCredentials(t, b, spec.Instance))
			spec.Generation++
			spec.Size = tc.size
			mustReach(t, b, spec)
			seen := stop()
			if again := mustPID(t, b, spec.Instance) != pid; again != tc.restarts {
				t.Errorf("%s: whether it was started again: %t", tc.what, again)
			}
			if drops := seen.failed > 0 || seen.refused > 0; drops && !tc.restarts || seen.writes == 0 {
				t.Errorf("%s: a client sees %+v", tc.what, seen)
			}
			t.Logf("%s: %+v", tc.what, seen)
		}
	})
}

// TestRestartIsAskedFor: a Spec with one restart more starts the engine again, once.
func TestRestartIsAskedFor(t *testing.T) {
	onEachProduct(t, func(t *testing.T, p product, b *local.Backend, spec backend.Spec) {
		pid := mustPID(t, b, spec.Instance)
		for i, tc := range []struct {
			restarts int64
			again    bool
		}{{1, true}, {1, false}, {2, true}, {1, false}, {2, true}} {
			spec.Generation, spec.Restarts = spec.Generation+1, tc.restarts
			spec.TLS = enginetest.Certificate(t, "localhost")
			mustReach(t, b, spec)
			now := mustPID(t, b, spec.Instance)
			if (now != pid) != tc.again {
				t.Errorf("wish %d, of restart %d: whether it was started again: %t", i, tc.restarts, now != pid)
			}
			pid = now
		}
	})
}

// TestRestartWithAHungSession: a session whose process does not end keeps the others waiting for seconds, not minutes.
func TestRestartWithAHungSession(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := newSpec(t)
	spec.Size.Memory = 64 * backstay.GB // it may take long to write
	mustReach(t, b, spec)
	session := mustUser(t, b, spec.Instance)
	var pid int
	if err := session.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	mustSignal(t, pid, syscall.SIGSTOP)
	spec.Generation, spec.Restarts = 2, 1
	began := time.Now()
	mustReach(t, b, spec)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the restart took %s", took)
	}
	mustUser(t, b, spec.Instance)
}

// TestRestartTellsWhatItWaitsFor, and why the engine is away.
func TestRestartTellsWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	mustExec(t, session, "CREATE TABLE big AS SELECT n, repeat('x', 500) AS x FROM generate_series(1, 20000) n")
	before := until(t, b, spec.Instance, running)
	spec.Generation, spec.Restarts = 2, 1
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	var said []string
	untilAll(t, b, spec.Instance, before.Revision, func(s backend.Status) bool {
		said = append(said, s.Message)
		return s.Phase == backend.Running && s.Generation == 2
	})
	for _, want := range []string{"Waiting for a checkpoint before the restart.", "started again, as it was asked for."} {
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("it says %q, want %q among that", said, want)
		}
	}
	if after := until(t, b, spec.Instance, running); after.Message != before.Message {
		t.Errorf("it says %q in the end, and said %q", after.Message, before.Message)
	}
}

// untilAll follows a status from a revision on until it is as wanted.
func untilAll(t *testing.T, b *local.Backend, id backstay.InstanceID, after int64, wanted func(backend.Status) bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		s, err := b.Await(t.Context(), id, after)
		if err != nil {
			t.Fatal(err)
		}
		if after = s.Revision; wanted(s) {
			return
		}
	}
	t.Fatal("it does not come true")
}

package keeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// paired are the products whose instances can have a standby.
var paired = products

// onEachPaired runs a test with each of them, of which each run draws one, and with a configuration of a keeper that knows
// all engines.
func onEachPaired(t *testing.T, config func(*testing.T) keeper.Config, test func(*testing.T, product, keeper.Config)) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	for _, p := range testkit.Drawn(t, paired) {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Engines["mysql"], c.Engines["redis"] = mysql.Engine{}, redis.Engine{}
			test(t, p, c)
		})
	}
}

// onEachPair runs a test with each product, and a keeper that has room for an instance of two.
func onEachPair(t *testing.T, test func(t *testing.T, p product, c keeper.Config)) {
	onEachPaired(t, func(t *testing.T) keeper.Config { return keepertest.Config(t, 4) }, test)
}

// isProtected tells whether an instance of two serves, and its standby lacks nothing.
func isProtected(s backend.Status) bool {
	return s.Phase == backend.Running && len(s.Nodes) == 2 && s.Nodes[1].Phase == backend.Running
}

// TestPairLosesNothing: the primary of an instance of two is killed, or hangs, again and again, under clients that
// write. The standby takes over, what was acknowledged is all there, but for the last moment in Redis, and the instance
// heals by itself.
func TestPairLosesNothing(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Nodes = 2
		if err := b.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		until(t, b, spec.Instance, isProtected)
		credentials := mustCredentials(t, b, spec.Instance)
		if err := add(t.Context(), p, credentials, 0); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var noted journal
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() { noted.keep(ctx, p, credentials) })
		}
		for i, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
			if i > 0 { // a primary that ends sooner is started again
				time.Sleep(31 * time.Second)
			}
			strikePrimary(t, b, p, spec, s, &noted)
		}
		checkStandbyReturns(t, b, c, spec)
		stop()
		clients.Wait()
		checkNoted(t, p, credentials, &noted)
		if err := end(t.Context(), b, spec.Instance); err != nil {
			t.Fatal(err)
		}
	})
}

// lastMoment is as much of what Redis has acknowledged before a strike as may be lost, on a machine that is busy.
const lastMoment = 200 * time.Millisecond

// strikePrimary sends the primary a signal that ends or stops it, and returns when what was its standby is protected.
func strikePrimary(
	t *testing.T, b *local.Backend, p product, spec backend.Spec, s syscall.Signal, noted *journal,
) {
	t.Helper()
	primary := until(t, b, spec.Instance, isProtected).Nodes[0].Name
	time.Sleep(time.Second) // in which clients write
	struck := time.Now()
	mustSignal(t, mustPID(t, b, spec.Instance), s)
	until(t, b, spec.Instance, func(s backend.Status) bool { return isProtected(s) && s.Nodes[0].Name != primary })
	t.Logf("%v: %v without an acknowledgement, protected after %v", s, noted.longest(struck), time.Since(struck))
	if p.engine == "redis" { // whose primary tells clients before the standby has it
		noted.doubt(struck.Add(-lastMoment), struck.Add(lastMoment))
	}
}

// checkStandbyReturns kills the standby, which goes on with the data that it has, and follows again.
func checkStandbyReturns(t *testing.T, b *local.Backend, c keeper.Config, spec backend.Spec) {
	t.Helper()
	status := until(t, b, spec.Instance, isProtected)
	home := string(instance.Home(spec.Instance, instance.Place(strings.TrimPrefix(status.Nodes[1].Name, "1"))))
	data := filepath.Join(c.DataDir, "instances", home, "data")
	before, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	killIn(c, home)
	until(t, b, spec.Instance, func(s backend.Status) bool { return isProtected(s) && s.Protected.After(status.Protected) })
	if after, err := os.Stat(data); err != nil || !os.SameFile(before, after) {
		t.Errorf("a standby that was killed has other data than before (%v)", err)
	}
	t.Logf("a standby that was killed follows again after %v", time.Since(killed))
}

// checkNoted looks for each commit that was acknowledged.
func checkNoted(t *testing.T, p product, c backstay.Credentials, j *journal) {
	t.Helper()
	w, err := openNoter(t.Context(), p, c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.(writer).close()
	found, err := w.noted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	j.compare(t, found, now, now)
}

// openNoter connects an app, which has a place for its numbers then.
func openNoter(ctx context.Context, p product, c backstay.Credentials) (noter, error) {
	w, err := p.open(ctx, c)
	if err != nil {
		return nil, err
	}
	n := w.(noter)
	if err := n.note(ctx, 0); err != nil {
		w.close()
		return nil, err
	}
	return n, nil
}

// TestKeeperDiesBehindEveryPairStep leads instances of two through whole lives, with keepers of which each dies behind
// another step: the standby takes over on request, or for a restart. What was committed before is there at each turn, and
// nothing is left in the end.
func TestKeeperDiesBehindEveryPairStep(t *testing.T) {
	for name, next := range map[string]func(*backend.Spec){
		"failover": func(s *backend.Spec) { s.Failovers++ },
		"restart":  func(s *backend.Spec) { s.Restarts++ },
	} {
		t.Run(name, func(t *testing.T) {
			onEachPair(t, func(t *testing.T, p product, c keeper.Config) { dieBehindEachPairStep(t, p, c, next) })
		})
	}
}

func dieBehindEachPairStep(t *testing.T, p product, c keeper.Config, next func(*backend.Spec)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	lead := func(enough <-chan struct{}) error {
		for {
			if err := leadPair(ctx, c, p, specOf(t, p), next); err != nil {
				return err
			}
			select {
			case <-enough:
				return nil
			default:
			}
		}
	}
	dieBehindEach(t, c, keeper.PairStepNames(), lead, func(*keeper.Config, string) {})
}

// leadPair takes an instance of two through its life: it becomes protected, is read from, its standby takes over for what
// is next, it
// loses the standby that it has then, and becomes an instance of one.
func leadPair(
	ctx context.Context, c keeper.Config, p product, spec backend.Spec, next func(*backend.Spec),
) error {
	b := local.New(keepertest.Socket(c))
	spec.Nodes = 2
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	credentials, err := user(ctx, b, spec.Instance)
	if err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		return err
	}
	if err := add(ctx, p, credentials, 1); err != nil {
		return err
	}
	if err := readReplica(ctx, b, p, spec.Instance, 1); err != nil {
		return err
	}
	spec.Generation = 2
	next(&spec)
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := add(ctx, p, credentials, 2); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		return err
	}
	killIn(c, string(spec.Instance)) // what was the primary before, and is the standby now
	if err := add(ctx, p, credentials, 3); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		return err
	}
	spec.Generation, spec.Nodes = 3, 1
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := follow(ctx, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 1 }); err != nil {
		return err
	}
	if err := add(ctx, p, credentials, 4); err != nil {
		return err
	}
	if err := awaitDisbanded(ctx, c, spec); err != nil {
		return err
	}
	return end(ctx, b, spec.Instance)
}

// awaitDisbanded returns when one of the two places of an instance is gone, which takes until its node has ended.
func awaitDisbanded(ctx context.Context, c keeper.Config, spec backend.Spec) error {
	return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		homes, err := filepath.Glob(filepath.Join(c.DataDir, "instances", string(spec.Instance)+"*"))
		if c.StandbyDir != "" {
			apart, _ := filepath.Glob(filepath.Join(c.StandbyDir, "instances", string(spec.Instance)+"*"))
			homes = append(homes, apart...)
		}
		return len(homes) > 1, err
	})
}

// killIn kills the node that lies at a place, if it runs.
func killIn(c keeper.Config, home string) {
	for _, pid := range pidsIn(c, home) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// pidsIn are the main processes of nodes that lie at a place.
func pidsIn(c keeper.Config, home string) (pids []int) {
	files, _ := filepath.Glob(filepath.Join(c.DataDir, "run", "*", "node.pid")) // the pattern is sound
	for _, path := range files {
		text, _ := os.ReadFile(path)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && process.WorksIn(pid, filepath.Join(c.DataDir, "instances", home)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// add notes the number as soon as the instance takes that, and looks for those before. 0 is the place for them.
func add(ctx context.Context, p product, c backstay.Credentials, number int) error {
	var found []int
	err := wait.Until(ctx, wait.Every(50*time.Millisecond), func() (again bool, err error) {
		w, err := openNoter(ctx, p, c)
		if err != nil {
			return true, err
		}
		defer w.(writer).close()
		if found, err = w.noted(ctx); number > 0 && err == nil && !slices.Contains(found, number) {
			if err = w.note(ctx, number); err == nil {
				found, err = w.noted(ctx)
			}
		}
		return err != nil, err
	})
	if err == nil && len(found) != number {
		err = fmt.Errorf("%d numbers were committed, and %d are there", number, found)
	}
	return err
}

package keeper_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// groupsOf are the groups of a keeper's instances. The test is skipped, with the reason, where nothing can be limited.
func groupsOf(t testing.TB, c keeper.Config) *cgroup.Groups {
	t.Helper()
	g, err := cgroup.Open(keeper.GroupsName(c.DataDir))
	if err != nil {
		t.Skipf("Nothing is limited here: %v", err)
	}
	return g
}

// greedy has a session take all memory that it gets, by what any user may do.
func greedy(ctx context.Context, p product, c backstay.Credentials) error {
	w, err := p.open(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	switch w := w.(type) {
	case postgresWriter:
		_, err = w.Exec(ctx, `DO $$ DECLARE a text[]; BEGIN
			FOR i IN 1..10000 LOOP a[i] := repeat('x', 10000000); END LOOP; END $$`)
	case mysqlWriter:
		for i := range 100 {
			if _, err = w.ExecContext(ctx, fmt.Sprintf("SET @a%d = REPEAT('x', 50000000)", i)); err != nil {
				return err
			}
		}
	case redisWriter:
		err = w.Eval(ctx, "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 5e6) .. i end", nil).Err()
	}
	return err
}

// hasTrouble tells whether the backend tells of a trouble of that kind, and what.
func hasTrouble(t *testing.T, b *local.Backend, id backstay.InstanceID, kind string) (sentence string) {
	t.Helper()
	unwell, err := b.Unwell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range unwell {
		for _, trouble := range s.Troubles {
			if s.Instance == id && trouble.Kind == kind {
				return trouble.Sentence
			}
		}
	}
	return ""
}

// TestGreedyInstanceIsStoppedAtItsLimit: an instance that takes more memory than its plan has is stopped, says why, and
// serves again. Its neighbour, with a session on it, notices nothing.
func TestGreedyInstanceIsStoppedAtItsLimit(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 4)
	groupsOf(t, c)
	all := everything(t)
	c.Engines = all.Engines
	b, _ := keepertest.Run(t, c)
	quiet := mustApply(t, b)
	awaitStatus(t, b, quiet.Instance, running)
	session, pid := mustUser(t, b, quiet.Instance), mustPID(t, b, quiet.Instance)
	t.Run("greedy", func(t *testing.T) {
		for _, p := range testkit.Drawn(t, kinds()) {
			t.Run(p.engine, func(t *testing.T) {
				t.Parallel()
				spec := specOf(t, p)
				spec.Size.Memory = 64 * backstay.MB
				mustReach(t, b, spec)
				credentials := mustCredentials(t, b, spec.Instance)
				if err := greedy(t.Context(), p, credentials); err == nil {
					t.Error("it could take as much as it liked")
				}
				told := awaitTrouble(t, b, spec.Instance, "memory")
				if !strings.Contains(told, "the plan's 64MB of memory") {
					t.Errorf("it tells %q", told)
				}
				awaitStatus(t, b, spec.Instance, running)
				bounded(t, "clients are served", func() bool {
					w, err := p.open(t.Context(), credentials)
					if err == nil {
						w.close()
					}
					return err == nil
				})
			})
		}
	})
	if is := mustPID(t, b, quiet.Instance); is != pid {
		t.Errorf("the neighbour was process %d and is %d", pid, is)
	}
	mustExec(t, session, "SELECT 1")
	if told := hasTrouble(t, b, quiet.Instance, "memory"); told != "" {
		t.Errorf("the neighbour tells %q", told)
	}
}

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// awaitStatus is until for a machine that is kept busy.
func awaitStatus(t *testing.T, b *local.Backend, id backstay.InstanceID, wanted func(backend.Status) bool) {
	t.Helper()
	untilWithin(t, patience, b, id, wanted)
}

// awaitTrouble returns what an instance tells of a trouble of that kind, once it does.
func awaitTrouble(t *testing.T, b *local.Backend, id backstay.InstanceID, kind string) (told string) {
	t.Helper()
	bounded(t, "the trouble is told", func() bool {
		told = hasTrouble(t, b, id, kind)
		return told != ""
	})
	return told
}

// bounded waits until something is so.
func bounded(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) { return !is(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestFloodOfConnectionsIsBounded: clients that only connect, and say nothing, become no more processes than the plan
// allows. When they have gone, others get in again.
func TestFloodOfConnectionsIsBounded(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 2)
	groups := groupsOf(t, c)
	if !slices.Contains(groups.Controls(), "pids") {
		t.Skip("The kernel does not limit the number of processes here.")
	}
	b, _ := keepertest.Run(t, c)
	spec, quiet := mustApply(t, b), mustApply(t, b)
	awaitStatus(t, b, spec.Instance, running)
	awaitStatus(t, b, quiet.Instance, running)
	credentials := mustCredentials(t, b, spec.Instance)
	most := c.Engines["postgres"].(engine.Bounded).Bounds(engine.Node{Size: spec.Size}).Processes
	var flood []net.Conn
	for range 2 * most {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%v", credentials["port"]))
		if err != nil {
			break
		}
		flood = append(flood, conn)
	}
	bounded(t, "the limit is met", func() bool { return groups.Look(string(spec.Instance)).Denied > 0 })
	if inside, err := groups.Processes(string(spec.Instance)); err != nil || len(inside) > most {
		t.Errorf("there are %d processes, of %d (%v)", len(inside), most, err)
	}
	mustExec(t, mustUser(t, b, quiet.Instance), "SELECT 1")
	bounded(t, "it is told", func() bool {
		return strings.Contains(hasTrouble(t, b, spec.Instance, "processes"), "more connections than the plan's 20.")
	})
	for _, conn := range flood {
		conn.Close()
	}
	bounded(t, "others get in", func() bool {
		w, err := openPostgres(t.Context(), credentials)
		if err == nil {
			w.close()
		}
		return err == nil
	})
}

// TestLimitsFollowThePlan: they change with it, while the engine runs on where it can. With the instance goes its group.
func TestLimitsFollowThePlan(t *testing.T) {
	t.Parallel()
	c := everything(t)
	groups := groupsOf(t, c)
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, products[2])
	mustReach(t, b, spec)
	pid, before := mustPID(t, b, spec.Instance), groups.Look(string(spec.Instance)).Limit
	for _, factor := range []backstay.Bytes{2, 1} {
		next := spec
		next.Generation, next.Size.Memory = spec.Generation+3-int64(factor), factor*spec.Size.Memory
		mustReach(t, b, next)
		want := c.Engines["redis"].(engine.Bounded).Bounds(engine.Node{Size: next.Size}).Memory
		if is := groups.Look(string(spec.Instance)).Limit; is != want || factor == 1 && is != before {
			t.Errorf("with %v of memory the limit is %v, want %v", next.Size.Memory, is, want)
		}
	}
	if is := mustPID(t, b, spec.Instance); is != pid {
		t.Error("it was restarted")
	}
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, spec.Instance)
	if found, err := groups.Found(); err != nil || !slices.Equal(found, []string{instance.BackgroundGroup}) {
		t.Errorf("groups %v are left (%v)", found, err)
	}
}

// TestEngineIsFoundInItsGroup by a keeper that comes after one that was killed, also behind the start; and put there
// with all its processes where the keeper before did not limit it.
func TestEngineIsFoundInItsGroup(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	groups := groupsOf(t, c)
	if err := groups.Set("of-one-that-is-gone", cgroup.Limits{}); err != nil {
		t.Fatal(err)
	}
	b, _, ended := keepertest.Start(t, c, "keeper.started")
	spec := mustApply(t, b)
	<-ended
	b, stop := keepertest.Run(t, c)
	awaitStatus(t, b, spec.Instance, running)
	mustHold(t, groups, spec.Instance, mustPID(t, b, spec.Instance))
	want := []string{string(spec.Instance), instance.BackgroundGroup}
	slices.Sort(want)
	if found, err := groups.Found(); err != nil || !slices.Equal(found, want) {
		t.Errorf("the groups are %v (%v)", found, err)
	}
	stop()
	if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
		t.Fatal(err)
	}
	free := c
	free.NoLimits = true
	b, stop = keepertest.Run(t, free)
	awaitStatus(t, b, spec.Instance, running)
	pid := mustPID(t, b, spec.Instance)
	if inside, err := groups.Processes(string(spec.Instance)); err != nil || len(inside) > 0 {
		t.Errorf("without limits, %v are in the group (%v)", inside, err)
	}
	stop()
	b, _ = keepertest.Run(t, c)
	awaitStatus(t, b, spec.Instance, running)
	mustHold(t, groups, spec.Instance, pid)
}

// mustHold sees that a server is in its instance's group with all its processes.
func mustHold(t *testing.T, groups *cgroup.Groups, id backstay.InstanceID, pid int) {
	t.Helper()
	inside, err := groups.Processes(string(id))
	if err != nil || len(inside) < 5 || !slices.Contains(inside, pid) {
		t.Errorf("in the group are %v, want %d among its children (%v)", inside, pid, err)
	}
	if limit := groups.Look(string(id)).Limit; limit == 0 {
		t.Error("its memory is not limited")
	}
}

// TestOurOwnDatabaseIsProtected: nothing limits its memory, and it has more weight than tenants.
func TestOurOwnDatabaseIsProtected(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	groups := groupsOf(t, c)
	b, _ := keepertest.Run(t, c)
	ours := newSpec(t)
	ours.Private, ours.TLS = true, backstay.Certificate{}
	if err := b.Apply(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, b, ours.Instance, func(s backend.Status) bool { return s.Phase == backend.Running })
	if seen := groups.Look(string(ours.Instance)); seen.Limit != 0 || seen.Memory == 0 {
		t.Errorf("of its group is told %+v", seen)
	}
}

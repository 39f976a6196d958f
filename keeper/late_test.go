package keeper_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// latePair makes an instance of two whose standby nobody waits for. The primary is at the first place.
func latePair(t *testing.T) (c keeper.Config, spec backend.Spec, run func() (*local.Backend, func())) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	t.Parallel()
	c = keepertest.Config(t, 5)
	c.Engines["redis"] = redis.Engine{}
	spec = specOf(t, products[2])
	spec.Nodes = 2
	return c, spec, func() (*local.Backend, func()) {
		b, stop := keepertest.Run(t, c)
		if err := b.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		return b, stop
	}
}

// places are where the nodes of an instance lie.
func places(c keeper.Config, spec backend.Spec) (first, second string) {
	dir := filepath.Join(c.DataDir, "instances", string(spec.Instance))
	return dir, dir + "+2"
}

func mustKillIn(t *testing.T, dir string) {
	t.Helper()
	if err := process.KillIn(dir); err != nil {
		t.Fatal(err)
	}
}

// mustNote has an app note a number, and mustHave wants it to be there.
func mustNote(t *testing.T, c backstay.Credentials, n int) {
	t.Helper()
	w, err := openRedis(t.Context(), c)
	if err == nil {
		err = w.(noter).note(t.Context(), n)
		w.close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustHave(t *testing.T, c backstay.Credentials, n int) {
	t.Helper()
	w, err := openRedis(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	all, err := w.(noter).noted(t.Context())
	if err != nil || len(all) != n {
		t.Errorf("%v are noted (%v), want %d of them", all, err, n)
	}
}

// TestStandbyThatWasAwayDoesNotTakeOver, though it is in step as far as the record knows: it ended while there was no
// keeper, and the primary went on for a while.
func TestStandbyThatWasAwayDoesNotTakeOver(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, second string) (goOn func()){
		"ended": func(t *testing.T, second string) func() {
			mustKillIn(t, second)
			return func() {}
		},
		"stopped": func(t *testing.T, second string) func() {
			pid := onlyPID(t, second)
			mustSignal(t, pid, syscall.SIGSTOP)
			return func() { mustSignal(t, pid, syscall.SIGCONT) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, spec, run := latePair(t)
			b, stop := run()
			until(t, b, spec.Instance, isProtected)
			credentials := mustCredentials(t, b, spec.Instance)
			mustNote(t, credentials, 1)
			until(t, b, spec.Instance, isProtected)
			stop()
			first, second := places(c, spec)
			goOn := end(t, second)
			mustNote(t, credentials, 2)
			mustKillIn(t, first)
			goOn()
			b, _ = run()
			s := until(t, b, spec.Instance, isProtected)
			if s.Nodes[0].Name != "1" || s.Failover != nil {
				t.Errorf("the standby has taken over: %+v", s)
			}
			mustHave(t, credentials, 2)
		})
	}
}

// onlyPID is the process that works in a directory.
func onlyPID(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && process.WorksIn(pid, dir) {
			return pid
		}
	}
	t.Fatalf("nothing runs in %s", dir)
	return 0
}

// TestWhatIsLeftTakesOver once the data of the primary has been missing for long, and users are told. The first keeper
// that concedes it dies at that.
func TestWhatIsLeftTakesOver(t *testing.T) {
	c, spec, run := latePair(t)
	b, stop := run()
	until(t, b, spec.Instance, isProtected)
	credentials := mustCredentials(t, b, spec.Instance)
	mustNote(t, credentials, 1)
	until(t, b, spec.Instance, isProtected)
	stop()
	first, second := places(c, spec)
	mustKillIn(t, second)
	mustNote(t, credentials, 2)
	mustKillIn(t, first)
	mustRename(t, filepath.Join(first, "data"), filepath.Join(c.DataDir, "away"))
	_, _, died := keepertest.Start(t, c, "keeper.conceded")
	<-died
	b, _ = run()
	began := time.Now()
	s := untilWithin(t, 3*time.Minute, b, spec.Instance, isProtected)
	if took := time.Since(began); took < time.Minute || s.Nodes[0].Name != "2" {
		t.Errorf("after %v: %+v", took, s)
	}
	if s.Failover == nil || !strings.Contains(s.Failover.Why, "is lost") {
		t.Errorf("users are told %+v", s.Failover)
	}
	mustHave(t, credentials, 1)
}

// TestUsersOutliveThePrimary: whoever was told of a user finds it in the standby that has taken over, and who was dropped
// is out. A standby that stands still keeps nobody waiting for long.
func TestUsersOutliveThePrimary(t *testing.T) {
	c, spec, run := latePair(t)
	b, _ := run()
	until(t, b, spec.Instance, isProtected)
	dropped := mustCredentials(t, b, spec.Instance)
	kept, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DropUser(t.Context(), spec.Instance, "u1"); err != nil {
		t.Fatal(err)
	}
	first, second := places(c, spec)
	mustKillIn(t, first)
	until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
	mustNote(t, kept, 1)
	if w, err := openRedis(t.Context(), dropped); err == nil {
		w.close()
		t.Error("a user that was dropped is let in by the standby that took over")
	}
	s := until(t, b, spec.Instance, isProtected)
	if s.Failover == nil || !strings.Contains(s.Failover.Why, "may be lost") {
		t.Errorf("users are told %+v", s.Failover)
	}
	mustSignal(t, onlyPID(t, first), syscall.SIGSTOP)
	began := time.Now()
	late, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u3", Password: "correcthorsebatterystaple"})
	if took := time.Since(began); err != nil || took > 5*time.Second {
		t.Fatalf("with a standby that stands still a user takes %v, %v", took, err)
	}
	mustKillIn(t, second)
	mustSignal(t, onlyPID(t, first), syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := follow(ctx, b, spec.Instance, isProtected); err != nil {
		t.Fatal(err)
	}
	mustNote(t, late, 2)
	mustHave(t, kept, 2)
}

// TestStandbyAloneIsAdopted: of an instance whose record is lost, and the primary's data with it, the standby's serves.
func TestStandbyAloneIsAdopted(t *testing.T) {
	c, spec, run := latePair(t)
	b, stop := run()
	until(t, b, spec.Instance, isProtected)
	credentials := mustCredentials(t, b, spec.Instance)
	mustNote(t, credentials, 1)
	before := until(t, b, spec.Instance, isProtected)
	stop()
	stopEngines(t, c)
	first, _ := places(c, spec)
	mustRename(t, filepath.Join(first, "data"), filepath.Join(c.DataDir, "away"))
	if err := os.Remove(recordPath(c, spec.Instance)); err != nil {
		t.Fatal(err)
	}
	b, _ = keepertest.Run(t, c)
	spec.Served = &backend.Served{Endpoint: before.Endpoint}
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := until(t, b, spec.Instance, isProtected)
	if s.Nodes[0].Name != "2" || s.Endpoint != before.Endpoint {
		t.Errorf("it is now %+v", s)
	}
	if s.Failover == nil || !strings.Contains(s.Failover.Why, "may be lost") {
		t.Errorf("users are told %+v", s.Failover)
	}
	mustHave(t, credentials, 1)
}

// TestLatePairBecomesLarger while a client writes, to whom that is next to nothing, and fails over as before then.
func TestLatePairBecomesLarger(t *testing.T) {
	c, spec, run := latePair(t)
	b, _ := run()
	before := until(t, b, spec.Instance, isProtected)
	credentials := mustCredentials(t, b, spec.Instance)
	mustNote(t, credentials, 1)
	stop := probe(t, products[2], credentials)
	spec.Generation, spec.Size = 2, larger(products[2], spec.Size)
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool {
		return isProtected(s) && s.Generation == 2 && s.Protected.After(before.Protected)
	})
	if seen := stop(); seen.failed > 0 {
		t.Errorf("a client saw %+v", seen)
	}
	first, _ := places(c, spec)
	mustKillIn(t, first)
	until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
	mustHave(t, credentials, 1)
}

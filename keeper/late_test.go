package keeper_test

import (
	"fmt"
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
	"github.com/backstay/backstay/internal/testkit"
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
			pid := mainPID(t, second)
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

// mainPID is the process that works in a directory and was started from elsewhere. Its own children work there too, and
// may have smaller numbers: these begin anew after the largest.
func mainPID(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !process.WorksIn(pid, dir) {
			continue
		}
		if parent := parentOf(pid); parent != 0 && !process.WorksIn(parent, dir) {
			return pid
		}
	}
	t.Fatalf("nothing runs in %s", dir)
	return 0
}

// parentOf is the parent of a process, or 0 of one that has ended.
func parentOf(pid int) (parent int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "PPid:"); ok {
			parent, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return parent
}

// TestWhatIsLeftTakesOver once the data of the primary has been missing for long, and users are told. The first keeper
// that concedes it dies at that.
func TestWhatIsLeftTakesOver(t *testing.T) {
	testkit.InSomeRuns(t)
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

// TestUsersOutliveThePrimary, which is killed as soon as somebody is told of one.
func TestUsersOutliveThePrimary(t *testing.T) {
	makeUser := func(t *testing.T, b *local.Backend, spec backend.Spec) backstay.Credentials {
		t.Helper()
		c, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "u2", Password: "correcthorsebatterystaple"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("made", func(t *testing.T) {
		b, spec, first, _ := protectedLatePair(t)
		made := makeUser(t, b, spec)
		mustKillIn(t, first)
		s := until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
		mustNote(t, made, 1)
		if s.Failover == nil || !strings.Contains(s.Failover.Why, "may be lost") {
			t.Errorf("users are told %+v", s.Failover)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		b, spec, first, _ := protectedLatePair(t)
		dropped := makeUser(t, b, spec)
		if err := b.DropUser(t.Context(), spec.Instance, "u2"); err != nil {
			t.Fatal(err)
		}
		mustKillIn(t, first)
		until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Nodes[0].Name == "2" })
		if w, err := openRedis(t.Context(), dropped); err == nil {
			w.close()
			t.Error("a user that was dropped is let in by the standby that took over")
		}
	})
	t.Run("made without the standby's being told", func(t *testing.T) {
		b, spec, first, second := protectedLatePair(t)
		socket := socketOf(t, first, second)
		mustRename(t, socket, socket+".away")
		made := makeUser(t, b, spec)
		mustRename(t, socket+".away", socket)
		mustKillIn(t, first)
		until(t, b, spec.Instance, isProtected)
		mustNote(t, made, 1)
	})
	t.Run("made while the standby stands still", func(t *testing.T) {
		b, spec, _, second := protectedLatePair(t)
		pid := mainPID(t, second)
		mustSignal(t, pid, syscall.SIGSTOP)
		defer mustSignal(t, pid, syscall.SIGCONT)
		began := time.Now()
		mustNote(t, makeUser(t, b, spec), 1)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a user takes %v", took)
		}
	})
}

// protectedLatePair is one that has just been protected.
func protectedLatePair(t *testing.T) (b *local.Backend, spec backend.Spec, first, second string) {
	t.Helper()
	c, spec, run := latePair(t)
	b, _ = run()
	until(t, b, spec.Instance, isProtected)
	first, second = places(c, spec)
	return b, spec, first, second
}

// socketOf is where the node at the second place is administered.
func socketOf(t *testing.T, first, second string) string {
	t.Helper()
	pid := mainPID(t, second)
	files, err := filepath.Glob(filepath.Join(first, "..", "..", "run", "*", "node.pid"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(pid) {
			return filepath.Join(filepath.Dir(path), "redis.sock")
		}
	}
	t.Fatalf("process %d is in none of %q", pid, files)
	return ""
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

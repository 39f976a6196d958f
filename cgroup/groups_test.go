package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/wait"
)

// limit is how long anything may take on a busy machine.
const limit = time.Minute

var counted atomic.Int64

// newGroups returns groups of the test's own, or skips it with the reason why there are none. Behind the test, no
// directory of them may be left.
func newGroups(t *testing.T) *Groups {
	t.Helper()
	g, err := Open(fmt.Sprintf("test-%d-%d", os.Getpid(), counted.Add(1)))
	if err != nil {
		t.Skipf("Nothing can be limited here: %v", err)
	}
	t.Cleanup(func() {
		for _, p := range g.places {
			if _, err := os.Stat(g.above(p)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", g.above(p), err)
			}
		}
	})
	return g
}

func mustSet(t *testing.T, g *Groups, id string, l Limits) {
	t.Helper()
	if err := g.Set(id, l); err != nil {
		t.Fatal(err)
	}
}

// control skips a test of what this machine does not control.
func control(t *testing.T, g *Groups, controller string) {
	t.Helper()
	if !slices.Contains(g.Controls(), controller) {
		t.Skipf("The kernel limits only %v here.", g.Controls())
	}
}

// run starts a shell's script in a group. It waits for its input until it is in the group.
func run(t *testing.T, g *Groups, id, script string) (cmd *exec.Cmd, out *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	cmd = exec.CommandContext(ctx, "/bin/sh", "-c", "read -r go || exit 9; "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if err := g.Remove(id); err != nil {
			t.Error(err)
		}
	})
	if err := g.Enter(id, cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(stdout)
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) { return !is(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestMemoryIsLimited: what needs more than its group's limit is killed, and that is told; a neighbour is not.
func TestMemoryIsLimited(t *testing.T) {
	t.Parallel()
	g := newGroups(t)
	control(t, g, memory)
	mustSet(t, g, "greedy", Limits{Memory: 32 * backstay.MB})
	mustSet(t, g, "neighbour", Limits{Memory: 32 * backstay.MB})
	_, neighbour := run(t, g, "neighbour", "head -c 4000000 /dev/zero | tail -c 3000000 | wc -c; sleep 600")
	_, out := run(t, g, "greedy", "tail /dev/zero; echo ended with $?")
	if line, err := out.ReadString('\n'); !strings.Contains(line, "Killed") && line != "ended with 137\n" {
		t.Errorf("what takes all memory says %q, %v", line, err)
	}
	until(t, "the kill is told", func() bool { return g.Look("greedy").Killed > 0 })
	if line, err := neighbour.ReadString('\n'); line != "3000000\n" {
		t.Errorf("the neighbour says %q, %v", line, err)
	}
	if seen := g.Look("greedy"); seen.Met == 0 {
		t.Errorf("of what has met its limit is told %+v", seen)
	}
	if seen := g.Look("neighbour"); seen.Killed != 0 || seen.Met != 0 || seen.Memory == 0 {
		t.Errorf("of the neighbour is told %+v", seen)
	}
}

// TestLimitsChange while a process is there: memory can be raised, lowered and set free.
func TestLimitsChange(t *testing.T) {
	t.Parallel()
	g := newGroups(t)
	control(t, g, memory)
	mustSet(t, g, "one", Limits{Memory: 64 * backstay.MB})
	run(t, g, "one", "sleep 600")
	for _, size := range []backstay.Bytes{128 * backstay.MB, 32 * backstay.MB, 0, 16 * backstay.MB} {
		mustSet(t, g, "one", Limits{Memory: size, Processes: 5})
		if is := g.Look("one").Limit; is != size {
			t.Errorf("limit %v is %v", size, is)
		}
	}
}

// TestProcessesAreLimited: what starts more than its group may have is refused, and that is told.
func TestProcessesAreLimited(t *testing.T) {
	t.Parallel()
	g := newGroups(t)
	control(t, g, pids)
	mustSet(t, g, "forks", Limits{Processes: 5})
	_, out := run(t, g, "forks", "for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; echo all; wait")
	if line, err := out.ReadString('\n'); !strings.Contains(line, "fork") {
		t.Errorf("of too many processes is said %q, %v", line, err)
	}
	until(t, "it is told", func() bool { return g.Look("forks").Denied > 0 })
	if all, err := g.Processes("forks"); err != nil || len(all) > 5 {
		t.Errorf("in the group are %v, %v", all, err)
	}
}

// TestChildrenAreInTheGroup, and are found by whoever opens the groups later, as a keeper that was started again.
func TestChildrenAreInTheGroup(t *testing.T) {
	t.Parallel()
	g := newGroups(t)
	mustSet(t, g, "family", Limits{})
	mustSet(t, g, "empty", Limits{})
	cmd, out := run(t, g, "family", "sleep 600 & echo started; wait")
	if line, err := out.ReadString('\n'); line != "started\n" {
		t.Fatalf("%q, %v", line, err)
	}
	later, err := Open(g.name)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "both are in the group", func() bool {
		all, err := later.Processes("family")
		return err == nil && len(all) == 2 && slices.Contains(all, cmd.Process.Pid)
	})
	if found, err := later.Found(); err != nil || !slices.Equal(found, []string{"empty", "family"}) {
		t.Errorf("found are %v, %v", found, err)
	}
	if err := later.Remove("empty"); err != nil {
		t.Error(err)
	}
	if err := later.Remove("never was"); err != nil {
		t.Error(err)
	}
	if err := later.Enter("family", 1<<22+1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a process that is not there enters: %v", err)
	}
}

// TestWeights: of one processor that two keep busy, the one with three times the weight gets about three times as much.
func TestWeights(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it keeps a processor busy for a second")
	}
	g := newGroups(t)
	control(t, g, cpu)
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		t.Skip("There is no taskset, which keeps both on one processor.")
	}
	mustSet(t, g, "light", Limits{Weight: 100})
	mustSet(t, g, "heavy", Limits{Weight: 300})
	burn := "exec " + taskset + " -c 0 sh -c 'while :; do :; done'"
	light, _ := run(t, g, "light", burn)
	heavy, _ := run(t, g, "heavy", burn)
	until(t, "they share", func() bool {
		l, h := ticks(t, light.Process.Pid), ticks(t, heavy.Process.Pid)
		time.Sleep(time.Second) // is what is measured
		l, h = ticks(t, light.Process.Pid)-l, ticks(t, heavy.Process.Pid)-h
		t.Logf("%d and %d hundredths of a second", l, h)
		return h > 2*l && h < 5*l
	})
}

// TestProcessorIsLimited: a process that goes in by the group's doors, and would keep a processor busy, is held up though
// nobody else is in the way.
func TestProcessorIsLimited(t *testing.T) {
	t.Parallel()
	g := newGroups(t)
	control(t, g, cpu)
	mustSet(t, g, "background", Limits{Millicores: 100})
	mustSet(t, g, "elsewhere", Limits{})
	doors := strings.Join(g.Doors("background"), " ")
	cmd, _ := run(t, g, "elsewhere", "for door in "+doors+"; do echo 0 >$door; done; while :; do :; done")
	until(t, "it is held up", func() bool {
		return number(filepath.Join(g.dirOf("background", cpu), "cpu.stat"), "nr_throttled") > 3
	})
	if inside, err := g.Processes("background"); err != nil || !slices.Contains(inside, cmd.Process.Pid) {
		t.Errorf("in the group are %v (%v), and not %d", inside, err, cmd.Process.Pid)
	}
	mustSet(t, g, "background", Limits{})
	began := ticks(t, cmd.Process.Pid)
	until(t, "it is let go", func() bool { return ticks(t, cmd.Process.Pid)-began > 20 })
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	cmd.Wait()
	if err := g.Remove("background"); err != nil {
		t.Error(err)
	}
}

// ticks is the processor time that a process has had in user mode, as proc(5) counts it.
func ticks(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(text))[13], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNoGroups: where there are none, everything succeeds and nothing is limited.
func TestNoGroups(t *testing.T) {
	t.Parallel()
	var g *Groups
	found, err := g.Found()
	all, errProcesses := g.Processes("one")
	err = errors.Join(err, errProcesses, g.Set("one", Limits{Memory: 1}), g.Enter("one", os.Getpid()), g.Remove("one"))
	if err != nil || len(found)+len(all)+len(g.Controls()) > 0 || g.Version() != 0 || g.Look("one") != (Seen{}) {
		t.Errorf("%v, %v, %v", err, found, all)
	}
}

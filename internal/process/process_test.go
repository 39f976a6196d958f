package process_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/process"
)

const limit = 10 * time.Second

// start runs a process that works in dir and is left for the test to end and to reap.
func start(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func mustOpen(t *testing.T, pid int) *process.Process {
	t.Helper()
	p, err := process.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func isDone(p *process.Process, patience time.Duration) bool {
	select {
	case <-p.Done():
		return true
	case <-time.After(patience):
		return false
	}
}

// TestZombieHasEnded: its parent, as a keeper that is being stopped, may take its time.
func TestZombieHasEnded(t *testing.T) {
	t.Parallel()
	cmd := start(t, "/")
	p := mustOpen(t, cmd.Process.Pid)
	if p.PID != cmd.Process.Pid || isDone(p, 10*time.Millisecond) {
		t.Fatalf("process %d has ended before it was told to", p.PID)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !isDone(p, limit) {
		t.Fatal("the end of a process is not told while nobody has reaped it")
	}
	if _, err := process.Open(cmd.Process.Pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Open of a zombie: %v, want %v", err, os.ErrProcessDone)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("Signal to a zombie: %v", err)
	}
	cmd.Wait()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("Signal to what is no more: %v", err)
	}
}

func TestOpenOfNothing(t *testing.T) {
	t.Parallel()
	cmd := start(t, "/")
	cmd.Process.Kill()
	cmd.Wait()
	for _, pid := range []int{cmd.Process.Pid, 0, -1, 1 << 30} {
		if _, err := process.Open(pid); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("Open(%d): %v, want %v", pid, err, os.ErrProcessDone)
		}
	}
}

func TestCloseLeavesTheProcessAlone(t *testing.T) {
	t.Parallel()
	cmd := start(t, "/")
	p, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if !isDone(p, limit) {
		t.Error("who waits on a closed Process waits for ever")
	}
	if isDone(mustOpen(t, cmd.Process.Pid), 10*time.Millisecond) {
		t.Error("Close ended the process")
	}
	if err := p.Signal(syscall.SIGKILL); err == nil {
		t.Error("a closed Process can be signalled")
	}
}

func TestBorrow(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("sleep", "60")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	p := mustOpen(t, cmd.Process.Pid)
	var written error
	if err := p.Borrow(1, func(fd int) { _, written = syscall.Write(fd, []byte("x")) }); err != nil || written != nil {
		t.Fatalf("write to its standard output: %v, %v", err, written)
	}
	if n, err := r.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("what was borrowed is another file: read %d bytes, %v", n, err)
	}
	nothing := func(int) { t.Error("a file is lent that is not there") }
	if err := p.Borrow(1000, nothing); err != nil {
		t.Errorf("Borrow of what is not open: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err := p.Borrow(1, nothing); err != nil {
		t.Errorf("Borrow from what has ended: %v", err)
	}
}

func TestWorksIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	pid := start(t, below).Process.Pid
	check := func(dir string, want bool) {
		t.Helper()
		if got := process.WorksIn(pid, dir); got != want {
			t.Errorf("works in %s: %v", dir, got)
		}
	}
	check(below, true)
	check(filepath.Join(dir, "a"), true)
	check(filepath.Join(below, "c"), false)
	check(filepath.Join(dir, "a", "bb"), false)
	check(filepath.Join(dir, "..."), false)
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	check(below, true) // also when that is gone: the process is not
	check(filepath.Join(dir, "a"), true)
	if process.WorksIn(1<<30, "/") {
		t.Error("no process works somewhere")
	}
}

// TestIsAdrift: a process whose directory was removed works in none that can be found, even if there is another of its
// name by now.
func TestIsAdrift(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "works")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pid := start(t, dir).Process.Pid
	if process.IsAdrift(pid) {
		t.Error("a process is adrift whose directory is there")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if !process.IsAdrift(pid) {
		t.Error("a process is not adrift whose directory is gone")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if !process.IsAdrift(pid) {
		t.Error("a process is not adrift whose directory is another one by now")
	}
}

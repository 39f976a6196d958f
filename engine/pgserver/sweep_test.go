package pgserver

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/process"
)

// TestHelpersOfTheDeadAreEnded: what works for a call whose process was killed may write to the repository for as long as
// it gets no processor. What works for a call that goes on is left alone.
func TestHelpersOfTheDeadAreEnded(t *testing.T) {
	dead, alive := helper(t, false), helper(t, true)
	SweepTools()
	select {
	case <-dead.Done():
	case <-time.After(10 * time.Second):
		t.Error("a helper outlives the call that it works for")
	}
	select {
	case <-alive.Done():
		t.Error("a helper of a call that goes on is ended")
	default:
	}
}

// helper starts what works in a tool's directory, which somebody holds or nobody.
func helper(t *testing.T, held bool) *process.Process {
	t.Helper()
	dir, err := os.MkdirTemp("", toolPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if held {
		file, err := os.Open(dir)
		if err == nil {
			err = unix.Flock(int(file.Fd()), unix.LOCK_SH)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
	}
	cmd := exec.Command("sleep", "60")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		p.Close()
	})
	return p
}

package process_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// TestRunBoundEndsWithItsContext: the command, and what it has started.
func TestRunBoundEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "sh", "-c", "sleep 600 & echo $!; wait")
	var pid told
	pid.cancel = cancel
	cmd.Stdout = &pid
	if err := process.RunGently(cmd); err == nil {
		t.Fatal("it has ended by itself")
	}
	bounded, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	err := wait.Until(bounded, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(pid.text) + "/stat")
		return err == nil && !strings.Contains(string(stat), ") Z "), nil // nobody may have waited for it yet
	})
	if err != nil {
		t.Errorf("what it has started runs on: %v", err)
	}
}

// TestRunGentlyGivesWay to what runs in other sessions too, and lowers nobody else's.
func TestRunGentlyGivesWay(t *testing.T) {
	t.Parallel()
	before, err := os.ReadFile("/proc/self/autogroup")
	if err != nil {
		t.Skipf("this system knows no groups of sessions: %v", err)
	}
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `nice; cat /proc/$$/autogroup`)
	cmd.Stdout = &said
	if err := process.RunGently(cmd); err != nil {
		t.Fatal(err)
	}
	if text := said.String(); !strings.HasPrefix(text, "10\n") || !strings.HasSuffix(text, "nice 10\n") {
		t.Errorf("it runs with %q", text)
	}
	if after, err := os.ReadFile("/proc/self/autogroup"); err != nil || string(after) != string(before) {
		t.Errorf("we run with %q (%v), before it was %q", after, err, before)
	}
}

// told cancels as soon as something is written to it.
type told struct {
	text   string
	cancel context.CancelFunc
}

func (w *told) Write(p []byte) (int, error) {
	w.text += string(p)
	w.cancel()
	return len(p), nil
}

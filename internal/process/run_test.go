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
	command := process.Gently("sh", "-c", "sleep 600 & echo $!; wait")
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var pid told
	pid.cancel = cancel
	cmd.Stdout = &pid
	if err := process.RunBound(cmd); err == nil {
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

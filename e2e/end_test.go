package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServeEndsAsItIsTold: to be told to end is no failure, wherever serve is on its way up.
func TestServeEndsAsItIsTold(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	p.kill()
	for _, later := range []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond} {
		cmd := exec.Command(p.binary, p.args...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its pid", func() bool {
			pid, _ := os.ReadFile(filepath.Join(p.data, "serve.pid"))
			return strings.TrimSpace(string(pid)) == fmt.Sprint(cmd.Process.Pid)
		})
		time.Sleep(later)
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("told to end %s after it began: %v\n%s", later, err, &said)
		}
	}
}

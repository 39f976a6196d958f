package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestLaunchEndsWithItsKeeper: a process that is not told that it is in its group, because the keeper died before that,
// becomes no engine, and leaves no pid file. One that is told has nothing to read.
func TestLaunchEndsWithItsKeeper(t *testing.T) {
	t.Parallel()
	for told, want := range map[string]string{"": "", "go\nmore\n": "up"} {
		pidFile := filepath.Join(t.TempDir(), "node.pid")
		cmd := exec.Command("/bin/sh", "-c", launch, pidFile, "", "/bin/sh", "-c", "cat; printf up")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = stdin.Write([]byte(told))
			stdin.Close()
		}()
		out, err := cmd.Output()
		if string(out) != want || (err == nil) != (want != "") {
			t.Errorf("told %q it says %q, %v; want %q", told, out, err, want)
		}
		if _, err := os.Stat(pidFile); (err == nil) != (want != "") {
			t.Errorf("told %q, of its pid file: %v", told, err)
		}
	}
}

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/testkit"
)

// TestUp does what a newcomer does: make up, twice, beside another one, and away with it.
func TestUp(t *testing.T) {
	t.Parallel()
	alone(t, "bash", filepath.Join(testdata, "up.sh"), testkit.Dir(t))
}

// TestServeUnconfigured starts a Backstay that was told nothing.
func TestServeUnconfigured(t *testing.T) {
	t.Parallel()
	alone(t, "sh", filepath.Join(testdata, "unconfigured.sh"), testkit.Dir(t))
}

// alone runs a program in a network of its own, where the ports that every Backstay has by default are
// free, whatever else this machine does.
func alone(t *testing.T, name string, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network")
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "PATH="+built+":"+filepath.Join(repository, "bin")+":"+os.Getenv("PATH"))
	ended := make(chan error)
	var said []byte
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the network
		err := leaveNetwork()
		if err == nil {
			said, err = cmd.CombinedOutput()
		}
		ended <- err
	}()
	err := <-ended
	if errors.Is(err, unix.EPERM) {
		t.Skipf("this root cannot make a network: %v", err)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, said)
	}
}

// leaveNetwork gives the calling thread a network with nothing but loopback.
func leaveNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

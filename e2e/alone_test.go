package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
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
// free, whatever else this machine does. Without root it takes a namespace of users, in which we are who we are.
func alone(t *testing.T, name string, args ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, append([]string{program}, args...)...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), aloneVariable+"=yes",
		"PATH="+built+":"+filepath.Join(repository, "bin")+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.Is(err, unix.EPERM) || errors.As(err, &exit) && exit.ExitCode() == noNetwork {
		t.Skipf("this machine lets us make no network: %v %s", err, said)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, said)
	}
}

// aloneVariable tells a process of the test binary that it is in a network of its own, for the program in its arguments.
const aloneVariable = "BACKSTAY_TEST_ALONE"

// noNetwork is its exit code when it has no network after all, as where namespaces of users come without rights.
const noNetwork = 125

// becomeAlone brings the network's loopback up, gives away the right to do so, and becomes the program.
func becomeAlone() int {
	runtime.LockOSThread() // rights are a thread's
	os.Unsetenv(aloneVariable)
	if err := raiseLoopback(); err != nil {
		fmt.Fprintln(os.Stderr, "bring up loopback:", err)
		return noNetwork
	}
	err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if err == nil {
		err = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "become "+os.Args[1]+":", err)
	return 1
}

func raiseLoopback() error {
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

package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// walledVariable tells a process of the test binary that it has mounts of its own.
const walledVariable = "BACKSTAY_TEST_WALLED"

// Walled tells whether this test process has mounts of its own: they go with it and its children, and with them their
// loop devices, however it ends.
func Walled() bool { return os.Getenv(walledVariable) != "" }

// RunWalled runs the test binary once more in a process that has mounts of its own, where that can be had: it takes
// root. The caller then ends with its exit code; else it runs the tests itself.
func RunWalled() (code int, walled bool) {
	if os.Geteuid() != 0 || Walled() {
		return 0, false
	}
	runtime.LockOSThread() // whose end would be the process's
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), walledVariable+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "No mounts of its own for the test:", err)
		return 0, false
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, true
	}
	return cmd.ProcessState.ExitCode(), true
}

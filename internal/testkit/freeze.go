package testkit

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Freeze has the file system at dir answer nothing that is written, until thaw is called, or the test ends. Should the
// test's process not come to that, it answers again after some minutes. It takes root.
func Freeze(t testing.TB, dir string) (thaw func()) {
	t.Helper()
	const fiFreeze, fiThaw = 0xc0045877, 0xc0045878
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := exec.Command("/bin/sh", "-c", `sleep 300; exec fsfreeze --unfreeze "$0"`, dir)
	last.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := last.Start(); err != nil {
		t.Fatal(err)
	}
	thaw = sync.OnceFunc(func() {
		if err := unix.IoctlSetInt(int(f.Fd()), fiThaw, 0); err != nil {
			t.Errorf("thaw %s: %v", dir, err)
		}
		f.Close()
		syscall.Kill(-last.Process.Pid, syscall.SIGKILL)
		last.Wait() // it was killed
	})
	t.Cleanup(thaw)
	if err := unix.IoctlSetInt(int(f.Fd()), fiFreeze, 0); err != nil {
		t.Fatal(err)
	}
	return thaw
}

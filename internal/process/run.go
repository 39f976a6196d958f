package process

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Gently is the command with less right to the processor and the disk than everybody else.
func Gently(command ...string) []string {
	return append([]string{"nice", "-n", "19", "ionice", "-t", "-c", "3"}, command...)
}

// RunBound runs a command of [exec.CommandContext] to its end. With all processes that it has started it ends when its
// context does, and it ends when this process does.
func RunBound(cmd *exec.Cmd) error {
	// The system takes the end of the thread that has started it for ours.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd.Run()
}
